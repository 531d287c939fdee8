#include "json.h"

#include "files.h"

/* Every value but the first of an array or object follows a comma, and a value that nests others
 * needs a bracket of its own: commas and brackets bound the number of values from above. */
static size_t count_values(const char *text, size_t size) {
    size_t count = 1;
    for (size_t i = 0; i < size; i++)
        count += text[i] == ',' || text[i] == '[' || text[i] == '{';
    return count;
}

json_t *tool_json_parse(const char *text, size_t size, const char *name, size_t max_values, size_t flags,
                        tool_error *error) {
    if (max_values > 0 && count_values(text, size) > max_values) {
        tool_fail(error, "%s: more than %zu JSON values", name, max_values);
        return NULL;
    }
    json_error_t problem;
    json_t *root = json_loadb(text, size, JSON_REJECT_DUPLICATES | flags, &problem);
    if (root == NULL) {
        tool_fail(error, "%s: not valid JSON: line %d, column %d: %s", name, problem.line, problem.column,
                  problem.text);
        return NULL;
    }
    if (!json_is_object(root)) {
        json_decref(root);
        tool_fail(error, "%s: the JSON is not an object", name);
        return NULL;
    }
    return root;
}

json_t *tool_json_read(const char *path, size_t max_bytes, size_t flags, tool_error *error) {
    tool_bytes bytes;
    if (!tool_read_file(&bytes, path, max_bytes, error)) return NULL;
    json_t *root = tool_json_parse(bytes.data, bytes.size, path, 0, flags, error);
    tool_bytes_free(&bytes);
    return root;
}
