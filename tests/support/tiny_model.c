#include "support/tiny_model.h"

#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "support/fixture.h"
#include "support/random.h"

enum { HIDDEN = 8, WIDE = 12, LAYERS = 2, POSITIONS = 16, VOCAB = 12 };

static const char right_config[] =
    "{\"model_type\":\"bert\",\"hidden_size\":8,\"num_hidden_layers\":2,\"num_attention_heads\":2,"
    "\"intermediate_size\":12,\"max_position_embeddings\":16,\"vocab_size\":12,\"type_vocab_size\":2,"
    "\"hidden_act\":\"gelu\",\"layer_norm_eps\":1e-12}";
static const char right_vocab[] = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nred\nblue\n##s\n,\n!\ngreen\n##ish\n";
static const char right_tokenizer[] =
    "{\"normalizer\":{\"type\":\"BertNormalizer\",\"lowercase\":true},"
    "\"pre_tokenizer\":{\"type\":\"BertPreTokenizer\"},\"model\":{\"type\":\"WordPiece\",\"vocab\":{\"[PAD]\":0,\"[UNK]"
    "\":1,\"[CLS]\":2,\"[SEP]\":3,\"[MASK]\":4,"
    "\"red\":5,\"blue\":6,\"##s\":7,\",\":8,\"!\":9,\"green\":10,\"##ish\":11}}}";

char *test_folder_create(void) {
    const char *parent = getenv("TMPDIR");
    char *name = test_alloc(4096, 1);
    snprintf(name, 4096, "%s/qkv-test-XXXXXX", parent != NULL && parent[0] != '\0' ? parent : "/tmp");
    TEST_TRUE(mkdtemp(name) != NULL);
    return name;
}

void test_folder_write(const char *directory, const char *name, const void *bytes, size_t size) {
    char path[4200];
    snprintf(path, sizeof path, "%s/%s", directory, name);
    FILE *file = fopen(path, "wb");
    TEST_TRUE(file != NULL);
    TEST_TRUE(fwrite(bytes, 1, size, file) == size);
    TEST_TRUE(fclose(file) == 0);
}

void test_folder_remove(char *directory) {
    DIR *folder = opendir(directory);
    struct dirent *entry;
    while (folder != NULL && (entry = readdir(folder)) != NULL) {
        char path[4400];
        snprintf(path, sizeof path, "%s/%s", directory, entry->d_name);
        if (entry->d_name[0] != '.') unlink(path);
    }
    if (folder != NULL) closedir(folder);
    rmdir(directory);
    free(directory);
}

/* model.safetensors as it grows: the header's text and the tensors' bytes. */
struct writer {
    const struct tiny_model *tiny;
    struct test_random random;
    char header[16384];
    size_t header_size;
    unsigned char data[65536];
    size_t data_size;
};

static size_t put_number(struct writer *w, float value) {
    uint32_t bits;
    unsigned char *at = w->data + w->data_size;
    memcpy(&bits, &value, sizeof bits);
    size_t bytes = strcmp(w->tiny->dtype, "F32") == 0 ? 4 : 2;
    if (strcmp(w->tiny->dtype, "BF16") == 0) {
        bits >>= 16;
    } else if (bytes == 2) {
        /* Normal numbers of few bits only: the exponent is rebased, the fraction cut. */
        uint32_t sign = bits >> 16 & 0x8000u;
        bits = value == 0.0f ? 0 : sign | (((bits >> 23 & 255u) - 112u) << 10) | (bits >> 13 & 1023u);
    }
    for (size_t i = 0; i < bytes; i++)
        at[i] = (unsigned char)(bits >> (8 * i));
    return bytes;
}

static void put_tensor(struct writer *w, const char *name, size_t rows, size_t columns) {
    const size_t count = rows * (columns == 0 ? 1 : columns), begin = w->data_size;
    const bool omitted = w->tiny->omit != NULL && strcmp(w->tiny->omit, name) == 0;
    const bool misshaped = w->tiny->misshape != NULL && strcmp(w->tiny->misshape, name) == 0;
    for (size_t i = 0; i < count; i++) {
        float value = (float)((int)test_random_below(&w->random, 65) - 32) / 64.0f;
        if (!omitted) w->data_size += put_number(w, value);
    }
    if (omitted) return;
    if (misshaped) columns = columns == 0 ? 1 : 0, rows = count;
    char shape[64];
    snprintf(shape, sizeof shape, columns == 0 ? "[%zu]" : "[%zu,%zu]", rows, columns);
    w->header_size += (size_t)snprintf(w->header + w->header_size, sizeof w->header - w->header_size,
                                       "%s\"%s%s\":{\"dtype\":\"%s\",\"shape\":%s,\"data_offsets\":[%zu,%zu]}",
                                       w->header_size > 1 ? "," : "", w->tiny->prefix == NULL ? "" : w->tiny->prefix,
                                       name, w->tiny->dtype, shape, begin, w->data_size);
}

static void put_norm(struct writer *w, const char *stem) {
    char name[128];
    snprintf(name, sizeof name, "%s.%s", stem, w->tiny->tensorflow_norms ? "gamma" : "weight");
    put_tensor(w, name, HIDDEN, 0);
    snprintf(name, sizeof name, "%s.%s", stem, w->tiny->tensorflow_norms ? "beta" : "bias");
    put_tensor(w, name, HIDDEN, 0);
}

static void put_linear(struct writer *w, const char *stem, size_t rows, size_t columns) {
    char name[128];
    snprintf(name, sizeof name, "%s.weight", stem);
    put_tensor(w, name, rows, columns);
    snprintf(name, sizeof name, "%s.bias", stem);
    put_tensor(w, name, rows, 0);
}

static void put_layer(struct writer *w, size_t layer) {
    static const struct {
        const char *stem;
        size_t rows, columns;
    } parts[] = {{"attention.self.query", HIDDEN, HIDDEN},
                 {"attention.self.key", HIDDEN, HIDDEN},
                 {"attention.self.value", HIDDEN, HIDDEN},
                 {"attention.output.dense", HIDDEN, HIDDEN},
                 {"attention.output.LayerNorm", HIDDEN, 0},
                 {"intermediate.dense", WIDE, HIDDEN},
                 {"output.dense", HIDDEN, WIDE},
                 {"output.LayerNorm", HIDDEN, 0}};
    for (size_t i = 0; i < TEST_COUNT(parts); i++) {
        char stem[100];
        snprintf(stem, sizeof stem, "encoder.layer.%zu.%s", layer, parts[i].stem);
        if (parts[i].columns == 0)
            put_norm(w, stem);
        else
            put_linear(w, stem, parts[i].rows, parts[i].columns);
    }
}

static void write_weights(const struct tiny_model *tiny, const char *directory) {
    struct writer *w = test_alloc(1, sizeof *w);
    w->tiny = tiny;
    w->random = test_random_start(7, 7);
    w->header[w->header_size++] = '{';
    put_tensor(w, "embeddings.word_embeddings.weight", VOCAB, HIDDEN);
    put_tensor(w, "embeddings.position_embeddings.weight", POSITIONS, HIDDEN);
    put_tensor(w, "embeddings.token_type_embeddings.weight", 2, HIDDEN);
    put_norm(w, "embeddings.LayerNorm");
    for (size_t layer = 0; layer < LAYERS; layer++)
        put_layer(w, layer);
    w->header[w->header_size++] = '}';
    size_t size = 8 + w->header_size + w->data_size;
    unsigned char *bytes = test_alloc(size, 1);
    for (size_t i = 0; i < 8; i++)
        bytes[i] = (unsigned char)((uint64_t)w->header_size >> (8 * i));
    memcpy(bytes + 8, w->header, w->header_size);
    memcpy(bytes + 8 + w->header_size, w->data, w->data_size);
    test_folder_write(directory, "model.safetensors", bytes, size - (size_t)tiny->cut);
    free(bytes);
    free(w);
}

char *tiny_model_write(const struct tiny_model *tiny) {
    char *directory = test_folder_create();
    const char *config = tiny->config != NULL ? tiny->config : right_config;
    const char *vocab = tiny->vocab;
    if (vocab == NULL) vocab = tiny->tokenizer_json ? right_tokenizer : right_vocab;
    test_folder_write(directory, "config.json", config, strlen(config));
    test_folder_write(directory, tiny->tokenizer_json ? "tokenizer.json" : "vocab.txt", vocab, strlen(vocab));
    write_weights(tiny, directory);
    return directory;
}

void tiny_model_remove(char *directory) {
    test_folder_remove(directory);
}
