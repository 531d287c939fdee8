/* The files in a cache directory, as somebody with a hex editor sees them. */
#ifndef TEST_STORE_FILES_H
#define TEST_STORE_FILES_H

#include <stdbool.h>
#include <stddef.h>

/* The path of the one file whose name begins with "kind-"; false where there is none. `path` has room for 4400. */
bool store_file(char *path, const char *folder, const char *kind);
/* The nth of several such files, in an order that does not change while their names do not. */
bool store_file_nth(char *path, const char *folder, const char *kind, size_t nth);
/* How many files' names begin with this. */
size_t store_file_count(const char *folder, const char *beginning);
/* A whole file, malloc'ed. */
char *store_file_read(size_t *size, const char *path);
void store_file_write(const char *path, const void *bytes, size_t size);
/* As if it had been written or used so long ago. */
void store_file_age(const char *path, long seconds);
/* Every entry of a kind is replaced: cut in half, or whole but with another content. */
void store_files_spoil(const char *folder, const char *kind, bool cut);
/* What `work` returns in a process of its own that ends without tidying up; 77 means that it could not be tried. */
int store_in_child(int (*work)(const char *folder), const char *folder);

#endif
