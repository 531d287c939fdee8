/* WordPiece: normalisation, splitting, pieces, truncation; vocabularies that lie. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "attend/tokenize.h"
#include "support/fixture.h"
#include "support/text.h"
#include "support/tiny_model.h"

static tool_error error;
enum { VOCAB_SIZE = 64 };

static const char vocab_text[] = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nun\n##aff\n##able\nable\n"
                                 ",\n!\ncafe\nCaf\xC3\xA9\n\xE6\x9D\xB1\n\xE4\xBA\xAC\na\n##a\n[\n]\n"
                                 "sep\n$\nstra\xC3\x9F"
                                 "e\n\xC2\xBF\n";

/* Flags: l lower case, a strip accents, c clean, h Chinese characters apart. */
static const struct {
    const char *name, *flags, *text, *tokens; /* without [CLS] and [SEP] */
} cases[] = {
    {"pieces", "lach", "unaffable", "un ##aff ##able"},
    {"no cover is one unknown", "lach", "unaffabl", "[UNK]"},
    {"several words", "lach", "  able\tunable \n a ", "able un ##able a"},
    {"punctuation", "lach", "a,a!$a", "a , a ! $ a"},
    {"unicode punctuation", "lach",
     "\xC2\xBF"
     "a",
     "\xC2\xBF a"},
    {"lower case and accents", "lach", "CAF\xC3\x89", "cafe"},
    {"decomposed accents", "lach", "Cafe\xCC\x81", "cafe"},
    {"cased", "ch", "Caf\xC3\xA9", "Caf\xC3\xA9"},
    {"accents without case", "ach", "caf\xC3\xA9", "cafe"},
    {"sharp s stays", "lach",
     "STRA\xC3\x9F"
     "E",
     "stra\xC3\x9F"
     "e"},
    {"Chinese characters", "lach",
     "a\xE6\x9D\xB1\xE4\xBA\xAC"
     "a",
     "a \xE6\x9D\xB1 \xE4\xBA\xAC a"},
    {"Chinese characters together", "lac", "\xE6\x9D\xB1\xE4\xBA\xAC", "[UNK]"},
    {"control characters", "lach",
     "un\x01"
     "able\xE2\x80\x8B",
     "un ##able"},
    {"replacement character", "lach",
     "un\xEF\xBF\xBD"
     "able",
     "un ##able"},
    {"other white space", "lach",
     "a\xC2\xA0"
     "a\xE3\x80\x80"
     "a",
     "a a a"},
    {"special token in the text", "lach", "a[SEP]a", "a [SEP] a"},
    {"not quite special", "lach", "[sep]", "[ sep ]"},
    {"nothing", "lach", "", ""},
    {"blanks only", "lach", " \t\n", ""},
    {"repeated pieces", "lach", "aaaa", "a ##a ##a ##a"},
};

static void open_vocab(attend_vocab *vocab, const char *name, const char *text) {
    char *folder = test_folder_create();
    test_folder_write(folder, name, text, strlen(text));
    bool ok = attend_vocab_read(vocab, folder, VOCAB_SIZE, &error);
    test_folder_remove(folder);
    if (!ok) test_fail(__FILE__, __LINE__, "%s", error.text);
}

static void expect(const attend_tokens *tokens, const attend_vocab *vocab, const char *expected) {
    char joined[4096] = "";
    TEST_TRUE(tokens->count >= 2 && tokens->ids[0] == vocab->cls && tokens->ids[tokens->count - 1] == vocab->sep);
    for (size_t i = 1; i + 1 < tokens->count; i++) {
        size_t end = strlen(joined);
        snprintf(joined + end, sizeof joined - end, "%s%s", i == 1 ? "" : " ",
                 attend_vocab_token(vocab, tokens->ids[i]));
    }
    if (strcmp(joined, expected) != 0) test_fail(__FILE__, __LINE__, "got \"%s\", expected \"%s\"", joined, expected);
}

START_TEST(texts) {
    attend_vocab vocab;
    attend_tokens tokens;
    test_note("%s", cases[_i].name);
    open_vocab(&vocab, "vocab.txt", vocab_text);
    vocab.lowercase = strchr(cases[_i].flags, 'l') != NULL;
    vocab.strip_accents = strchr(cases[_i].flags, 'a') != NULL;
    vocab.clean_text = strchr(cases[_i].flags, 'c') != NULL;
    vocab.handle_chinese_chars = strchr(cases[_i].flags, 'h') != NULL;
    TEST_TRUE(attend_tokenize(&tokens, &vocab, cases[_i].text, strlen(cases[_i].text), 100, &error));
    TEST_TRUE(!tokens.truncated);
    expect(&tokens, &vocab, cases[_i].tokens);
    attend_tokens_free(&tokens);
    attend_vocab_free(&vocab);
}
END_TEST

/* Words of 100 characters are cut into pieces, longer ones are unknown: characters, not bytes. */
START_TEST(long_words) {
    attend_vocab vocab;
    attend_tokens tokens;
    char word[202];
    open_vocab(&vocab, "vocab.txt", vocab_text);
    memset(word, 'a', sizeof word);
    TEST_TRUE(attend_tokenize(&tokens, &vocab, word, 100, 1000, &error) && tokens.count == 102);
    attend_tokens_free(&tokens);
    TEST_TRUE(attend_tokenize(&tokens, &vocab, word, 101, 1000, &error));
    expect(&tokens, &vocab, "[UNK]");
    attend_tokens_free(&tokens);
    vocab.strip_accents = false;
    for (size_t i = 0; i < 200; i += 2)
        memcpy(word + i, "\xC3\xA9", 2);
    TEST_TRUE(attend_tokenize(&tokens, &vocab, word, 200, 1000, &error));
    expect(&tokens, &vocab, "[UNK]");
    attend_tokens_free(&tokens);
    attend_vocab_free(&vocab);
}
END_TEST

/* Whatever the limit, the result is the beginning of the whole with [SEP] after it. */
START_TEST(truncation) {
    static const char text[] = "unaffable a, able unaffabl a";
    attend_vocab vocab;
    attend_tokens whole, cut;
    open_vocab(&vocab, "vocab.txt", vocab_text);
    TEST_TRUE(attend_tokenize(&whole, &vocab, text, strlen(text), 100, &error) && whole.count == 10);
    for (size_t limit = 2; limit <= 11; limit++) {
        TEST_TRUE(attend_tokenize(&cut, &vocab, text, strlen(text), limit, &error));
        size_t count = limit < whole.count ? limit : whole.count;
        TEST_TRUE(cut.count == count && cut.truncated == (limit < whole.count));
        TEST_TRUE(memcmp(cut.ids, whole.ids, (count - 1) * sizeof *cut.ids) == 0);
        TEST_TRUE(cut.ids[count - 1] == vocab.sep);
        attend_tokens_free(&cut);
    }
    attend_tokens_free(&whole);
    attend_vocab_free(&vocab);
}
END_TEST

#define TOKENIZER(model, rest)                                                                                         \
    "{\"normalizer\":{\"type\":\"BertNormalizer\"},\"pre_tokenizer\":{\"type\":\"BertPreTokenizer\"},\"model\":" model \
        rest "}"
#define TEN "\n\n\n\n\n\n\n\n\n\n"
#define SPECIAL "\"[UNK]\":0,\"[CLS]\":1,\"[SEP]\":2"

static const struct {
    const char *name, *file, *text, *message; /* NULL: good */
} vocabularies[] = {
    {"no unknown", "vocab.txt", "[CLS]\n[SEP]\na\n", "no [UNK]"},
    {"no start", "vocab.txt", "[UNK]\n[SEP]\na\n", "no [CLS]"},
    {"no end", "vocab.txt", "[UNK]\n[CLS]\na\n", "no [SEP]"},
    {"empty", "vocab.txt", "", "no [UNK]"},
    {"CRLF and no last newline", "vocab.txt", "[UNK]\r\n[CLS]\r\n[SEP]", NULL},
    {"not UTF-8", "vocab.txt", "[UNK]\n[CLS]\n[SEP]\n\xFF\n", "line 4"},
    {"too many", "vocab.txt", TEN TEN TEN TEN TEN TEN TEN, "vocab_size is 64"},
    {"tokenizer.json", "tokenizer.json", TOKENIZER("{\"vocab\":{" SPECIAL "}}", ""), NULL},
    {"added beyond the model", "tokenizer.json",
     TOKENIZER("{\"vocab\":{\"[UNK]\":0}}",
               ",\"added_tokens\":[{\"id\":1,\"content\":\"[CLS]\"},{\"id\":9,\"content\":\"[SEP]\"}]"),
     NULL},
    {"id beyond vocab_size", "tokenizer.json", TOKENIZER("{\"vocab\":{" SPECIAL ",\"a\":64}}", ""), "id 64"},
    {"negative id", "tokenizer.json", TOKENIZER("{\"vocab\":{" SPECIAL ",\"a\":-1}}", ""), "not a number >= 0"},
    {"id not a number", "tokenizer.json", TOKENIZER("{\"vocab\":{" SPECIAL ",\"a\":\"3\"}}", ""), "not a number >= 0"},
    {"one id twice", "tokenizer.json", TOKENIZER("{\"vocab\":{" SPECIAL ",\"a\":2}}", ""), "id 2 is both"},
    {"one token twice", "tokenizer.json", TOKENIZER("{\"vocab\":{" SPECIAL ",\"[UNK]\":3}}", ""), "duplicate"},
    {"no vocab", "tokenizer.json", TOKENIZER("{}", ""), "model.vocab"},
    {"another model", "tokenizer.json", TOKENIZER("{\"type\":\"BPE\",\"vocab\":{" SPECIAL "}}", ""), "BPE"},
    {"another normalizer", "tokenizer.json",
     "{\"normalizer\":{\"type\":\"NFKC\"},\"pre_tokenizer\":{\"type\":\"BertPreTokenizer\"}}", "NFKC"},
    {"another pre_tokenizer", "tokenizer.json", "{\"pre_tokenizer\":{\"type\":\"ByteLevel\"}}", "ByteLevel"},
    {"bad word length", "tokenizer.json", TOKENIZER("{\"max_input_chars_per_word\":0,\"vocab\":{" SPECIAL "}}", ""),
     "max_input_chars_per_word"},
    {"not JSON", "tokenizer.json", "{\"model\":", "not valid JSON"},
    {"no file", "other.txt", "", "neither"},
};

START_TEST(vocabulary_files) {
    attend_vocab vocab;
    char *folder = test_folder_create();
    test_note("%s", vocabularies[_i].name);
    test_folder_write(folder, vocabularies[_i].file, vocabularies[_i].text, strlen(vocabularies[_i].text));
    bool ok = attend_vocab_read(&vocab, folder, VOCAB_SIZE, &error);
    test_folder_remove(folder);
    if (ok) attend_vocab_free(&vocab);
    if (ok != (vocabularies[_i].message == NULL)) test_fail(__FILE__, __LINE__, "%s", ok ? "read" : error.text);
    if (!ok && strstr(error.text, vocabularies[_i].message) == NULL)
        test_fail(__FILE__, __LINE__, "unexpected message: %s", error.text);
}
END_TEST

START_TEST(added_tokens) {
    static const char text[] = TOKENIZER("{\"vocab\":{" SPECIAL ",\"a\":3,\"b\":4}}",
                                         ",\"added_tokens\":[{\"id\":5,\"content\":\"<X>\",\"normalized\":false},"
                                         "{\"id\":6,\"content\":\"<X>b\",\"normalized\":false},"
                                         "{\"id\":7,\"content\":\"FOO\",\"normalized\":true}]");
    attend_vocab vocab;
    attend_tokens tokens;
    open_vocab(&vocab, "tokenizer.json", text);
    TEST_TRUE(attend_tokenize(&tokens, &vocab, "a<X>b<X>a foo FOO", 17, 100, &error));
    expect(&tokens, &vocab, "a <X>b <X> a FOO FOO");
    attend_tokens_free(&tokens);
    attend_vocab_free(&vocab);
}
END_TEST

/* Display helpers: repair, width, and cutting to columns. */
START_TEST(display) {
    size_t length;
    char out[64], *fixed = tool_text_repair("a\xFF\xE6\x9D"
                                            "b",
                                            5, &length, &error);
    TEST_TRUE(strcmp(fixed, "a\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD"
                            "b") == 0 &&
              length == strlen(fixed));
    free(fixed);
    TEST_TRUE(tool_text_width("\xE6\x9D\xB1"
                              "a") == 3 &&
              tool_text_width("e\xCC\x81") == 1);
    TEST_TRUE(setenv("LC_ALL", "C.UTF-8", 1) == 0);
    tool_text_fit(out, sizeof out, "\xE6\x9D\xB1\xE4\xBA\xAC", 3);
    TEST_TRUE(strcmp(out, "\xE6\x9D\xB1\xE2\x80\xA6") == 0);
    TEST_TRUE(setenv("LC_ALL", "C", 1) == 0);
    tool_text_fit(out, sizeof out, "\xE6\x9D\xB1\xE4\xBA\xAC\xE4\xBA\xAC", 5);
    TEST_TRUE(strcmp(out, "\xE6\x9D\xB1...") == 0);
    tool_text_fit(out, sizeof out, "\x1B[31m", 10);
    TEST_TRUE(strcmp(out, "\xEF\xBF\xBD[31m") == 0);
    tool_text_fit(out, 6, "abcdefghij", 20);
    TEST_TRUE(strlen(out) < 6);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("tokenizer");
    TCase *tests = tcase_create("tokenizer");
    tcase_add_loop_test(tests, texts, 0, (int)TEST_COUNT(cases));
    tcase_add_test(tests, long_words);
    tcase_add_test(tests, truncation);
    tcase_add_loop_test(tests, vocabulary_files, 0, (int)TEST_COUNT(vocabularies));
    tcase_add_test(tests, added_tokens);
    tcase_add_test(tests, display);
    suite_add_tcase(suite, tests);
    return test_main(suite);
}
