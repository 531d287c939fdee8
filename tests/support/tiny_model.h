/* A tiny BERT on disk, and files with which to spoil it. */
#ifndef TEST_TINY_MODEL_H
#define TEST_TINY_MODEL_H

#include <stdbool.h>
#include <stddef.h>

/* hidden_size 8, 2 heads, 2 layers, intermediate_size 12, 16 positions, a vocabulary of 12. The same weights
 * whatever the form: small multiples of 1/64, exact in every dtype. */
struct tiny_model {
    const char *dtype;     /* F32, F16 or BF16 */
    const char *prefix;    /* of tensor names; NULL: none */
    bool tensorflow_norms; /* gamma and beta */
    bool tokenizer_json;   /* instead of vocab.txt */
    const char *config;    /* config.json's text; NULL: the right one */
    const char *vocab;     /* vocab.txt's or tokenizer.json's text; NULL: the right one */
    const char *omit;      /* the tensor to leave out */
    const char *misshape;  /* the tensor to give an axis too many elements */
    long cut;              /* bytes to take from the end of model.safetensors */
};

/* Writes the files into a new folder; its name is malloc'ed. */
char *tiny_model_write(const struct tiny_model *tiny);
/* Removes the folder and its files, frees the name. Files that are open stay readable. */
void tiny_model_remove(char *directory);

/* A new empty folder, malloc'ed; and files in one. */
char *test_folder_create(void);
void test_folder_write(const char *directory, const char *name, const void *bytes, size_t size);
/* Removes the folder with every file in it (no folders), frees the name. */
void test_folder_remove(char *directory);

#endif
