#include "safetensors.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../support/json.h"
#include "../support/half.h"

static const uint64_t max_header_bytes = 100000000;
/* Parsed, a JSON value takes up to this much memory; the header may not make us take more than the file. */
static const uint64_t bytes_per_value = 256;
static const uint64_t small_file_bytes = 1 << 20;

typedef struct dtype_row {
    const char *name;
    size_t bytes;
    safetensors_dtype dtype;
} dtype_row;

static const dtype_row dtypes[] = {
    {"F32", 4, SAFETENSORS_F32},       {"F16", 2, SAFETENSORS_F16},       {"BF16", 2, SAFETENSORS_BF16},
    {"F64", 8, SAFETENSORS_OTHER},     {"I64", 8, SAFETENSORS_OTHER},     {"U64", 8, SAFETENSORS_OTHER},
    {"C64", 8, SAFETENSORS_OTHER},     {"I32", 4, SAFETENSORS_OTHER},     {"U32", 4, SAFETENSORS_OTHER},
    {"I16", 2, SAFETENSORS_OTHER},     {"U16", 2, SAFETENSORS_OTHER},     {"I8", 1, SAFETENSORS_OTHER},
    {"U8", 1, SAFETENSORS_OTHER},      {"BOOL", 1, SAFETENSORS_OTHER},    {"F8_E4M3", 1, SAFETENSORS_OTHER},
    {"F8_E5M2", 1, SAFETENSORS_OTHER}, {"F8_E8M0", 1, SAFETENSORS_OTHER},
};

static bool read_at(const safetensors *file, void *out, size_t bytes, uint64_t offset, tool_error *error) {
    char *at = out;
    while (bytes > 0) {
        ssize_t got = pread(file->descriptor, at, bytes, (off_t)offset);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return tool_fail(error, "%s: %s", file->path, strerror(errno));
        if (got == 0)
            return tool_fail(error, "%s: ends at byte %llu, while it is being read", file->path,
                             (unsigned long long)offset);
        at += got;
        bytes -= (size_t)got;
        offset += (uint64_t)got;
    }
    return true;
}

static bool read_dtype(const safetensors *file, safetensors_tensor *tensor, const json_t *entry, tool_error *error) {
    const char *name = json_string_value(json_object_get(entry, "dtype"));
    if (name == NULL) return tool_fail(error, "%s: tensor %s has no dtype", file->path, tensor->name);
    for (size_t i = 0; i < sizeof dtypes / sizeof dtypes[0]; i++) {
        if (strcmp(dtypes[i].name, name) == 0) {
            tensor->dtype = dtypes[i].dtype;
            tensor->element_bytes = dtypes[i].bytes;
            return true;
        }
    }
    return tool_fail(error, "%s: tensor %s has the unknown dtype %s", file->path, tensor->name, name);
}

/* A JSON integer that is not negative. */
static bool read_natural(uint64_t *out, const json_t *value) {
    if (!json_is_integer(value) || json_integer_value(value) < 0) return false;
    *out = (uint64_t)json_integer_value(value);
    return true;
}

static bool read_shape(const safetensors *file, safetensors_tensor *tensor, const json_t *entry, tool_error *error) {
    const json_t *shape = json_object_get(entry, "shape");
    if (!json_is_array(shape) || json_array_size(shape) > SAFETENSORS_MAX_RANK)
        return tool_fail(error, "%s: tensor %s has no shape of at most %d axes", file->path, tensor->name,
                         SAFETENSORS_MAX_RANK);
    tensor->rank = json_array_size(shape);
    for (size_t i = 0; i < tensor->rank; i++)
        if (!read_natural(&tensor->shape[i], json_array_get(shape, i)))
            return tool_fail(error, "%s: tensor %s: axis %zu of its shape is not a number >= 0", file->path,
                             tensor->name, i);
    return true;
}

static bool read_span(const safetensors *file, safetensors_tensor *tensor, const json_t *entry, uint64_t data_bytes,
                      tool_error *error) {
    const json_t *offsets = json_object_get(entry, "data_offsets");
    if (!json_is_array(offsets) || json_array_size(offsets) != 2 ||
        !read_natural(&tensor->begin, json_array_get(offsets, 0)) ||
        !read_natural(&tensor->end, json_array_get(offsets, 1)))
        return tool_fail(error, "%s: tensor %s: data_offsets are not two numbers >= 0", file->path, tensor->name);
    if (tensor->begin > tensor->end || tensor->end > data_bytes)
        return tool_fail(error, "%s: tensor %s: data_offsets [%llu, %llu] do not lie in the file's %llu data bytes",
                         file->path, tensor->name, (unsigned long long)tensor->begin, (unsigned long long)tensor->end,
                         (unsigned long long)data_bytes);
    uint64_t bytes = tensor->element_bytes;
    for (size_t i = 0; i < tensor->rank; i++) {
        if (tensor->shape[i] != 0 && bytes > UINT64_MAX / tensor->shape[i])
            return tool_fail(error, "%s: tensor %s: its shape overflows", file->path, tensor->name);
        bytes *= tensor->shape[i];
    }
    if (bytes != tensor->end - tensor->begin)
        return tool_fail(error, "%s: tensor %s: its shape needs %llu bytes, its data_offsets span %llu", file->path,
                         tensor->name, (unsigned long long)bytes, (unsigned long long)(tensor->end - tensor->begin));
    return true;
}

static int compare_spans(const void *left, const void *right) {
    const safetensors_tensor *a = left, *b = right;
    if (a->begin != b->begin) return a->begin < b->begin ? -1 : 1;
    return (a->end > b->end) - (a->end < b->end);
}

static int compare_names(const void *left, const void *right) {
    return strcmp(((const safetensors_tensor *)left)->name, ((const safetensors_tensor *)right)->name);
}

static bool check_coverage(safetensors *file, uint64_t data_bytes, tool_error *error) {
    uint64_t reached = 0;
    qsort(file->tensors, file->num_tensors, sizeof *file->tensors, compare_spans);
    for (size_t i = 0; i < file->num_tensors; i++) {
        const safetensors_tensor *tensor = &file->tensors[i];
        if (tensor->begin != reached)
            return tool_fail(error, "%s: tensor %s %s: it begins at byte %llu, where byte %llu should follow",
                             file->path, tensor->name, tensor->begin < reached ? "overlaps another" : "leaves a hole",
                             (unsigned long long)tensor->begin, (unsigned long long)reached);
        reached = tensor->end;
    }
    if (reached != data_bytes)
        return tool_fail(error, "%s: its tensors end at byte %llu of %llu data bytes", file->path,
                         (unsigned long long)reached, (unsigned long long)data_bytes);
    qsort(file->tensors, file->num_tensors, sizeof *file->tensors, compare_names);
    return true;
}

static bool read_entries(safetensors *file, json_t *header, uint64_t data_bytes, tool_error *error) {
    file->tensors = tool_alloc(json_object_size(header), sizeof *file->tensors, error);
    if (file->tensors == NULL) return false;
    const char *name;
    json_t *entry;
    json_object_foreach(header, name, entry) {
        if (strcmp(name, "__metadata__") == 0) continue;
        safetensors_tensor *tensor = &file->tensors[file->num_tensors];
        tensor->name = tool_copy(name, strlen(name), error);
        if (tensor->name == NULL) return false;
        file->num_tensors++;
        if (!json_is_object(entry))
            return tool_fail(error, "%s: the entry of tensor %s is not an object", file->path, name);
        if (!read_dtype(file, tensor, entry, error) || !read_shape(file, tensor, entry, error) ||
            !read_span(file, tensor, entry, data_bytes, error))
            return false;
    }
    return check_coverage(file, data_bytes, error);
}

static bool read_header(safetensors *file, uint64_t file_bytes, tool_error *error) {
    unsigned char prefix[8];
    if (file_bytes < sizeof prefix)
        return tool_fail(error, "%s: %llu bytes are too few for a safetensors file", file->path,
                         (unsigned long long)file_bytes);
    if (!read_at(file, prefix, sizeof prefix, 0, error)) return false;
    uint64_t bytes = 0;
    for (size_t i = 0; i < sizeof prefix; i++)
        bytes |= (uint64_t)prefix[i] << (8 * i);
    if (bytes > max_header_bytes || bytes > file_bytes - sizeof prefix)
        return tool_fail(error, "%s: claims a header of %llu bytes; the file has %llu, the format allows %llu",
                         file->path, (unsigned long long)bytes, (unsigned long long)file_bytes,
                         (unsigned long long)max_header_bytes);
    char *text = tool_alloc((size_t)bytes + 1, 1, error);
    if (text == NULL) return false;
    uint64_t room = file_bytes > small_file_bytes ? file_bytes : small_file_bytes;
    json_t *header = NULL;
    if (read_at(file, text, (size_t)bytes, sizeof prefix, error))
        header = tool_json_parse(text, (size_t)bytes, file->path, (size_t)(room / bytes_per_value), 0, error);
    free(text);
    if (header == NULL) return false;
    file->data_begin = sizeof prefix + bytes;
    bool ok = read_entries(file, header, file_bytes - file->data_begin, error);
    json_decref(header);
    return ok;
}

bool safetensors_open(safetensors *out, const char *path, tool_error *error) {
    struct stat info;
    memset(out, 0, sizeof *out);
    out->descriptor = open(path, O_RDONLY | O_NONBLOCK);
    if (out->descriptor < 0) return tool_fail(error, "%s: %s", path, strerror(errno));
    out->path = tool_copy(path, strlen(path), error);
    bool ok = out->path != NULL;
    if (ok && (fstat(out->descriptor, &info) != 0 || !S_ISREG(info.st_mode)))
        ok = tool_fail(error, "%s: not a regular file", path);
    ok = ok && read_header(out, (uint64_t)info.st_size, error);
    if (!ok) safetensors_close(out);
    return ok;
}

void safetensors_close(safetensors *file) {
    for (size_t i = 0; i < file->num_tensors; i++)
        free(file->tensors[i].name);
    free(file->tensors);
    if (file->path != NULL || file->descriptor > 0) close(file->descriptor);
    free(file->path);
    memset(file, 0, sizeof *file);
    file->descriptor = -1;
}

const safetensors_tensor *safetensors_find(const safetensors *file, const char *name) {
    size_t low = 0, high = file->num_tensors;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = strcmp(name, file->tensors[middle].name);
        if (order == 0) return &file->tensors[middle];
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return NULL;
}

static float decode(const unsigned char *bytes, safetensors_dtype dtype) {
    uint32_t low = bytes[0] | (uint32_t)bytes[1] << 8;
    if (dtype == SAFETENSORS_F16) return tool_from_f16((uint16_t)low);
    if (dtype == SAFETENSORS_BF16) return tool_from_bf16((uint16_t)low);
    uint32_t bits = low | (uint32_t)bytes[2] << 16 | (uint32_t)bytes[3] << 24;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

bool safetensors_read(const safetensors *file, const safetensors_tensor *tensor, uint64_t first, size_t count,
                      float *out, tool_error *error) {
    if (tensor->dtype == SAFETENSORS_OTHER)
        return tool_fail(error, "%s: tensor %s is not F32, F16 or BF16", file->path, tensor->name);
    uint64_t elements = (tensor->end - tensor->begin) / tensor->element_bytes;
    if (first > elements || count > elements - first)
        return tool_fail(error, "%s: tensor %s has only %llu elements", file->path, tensor->name,
                         (unsigned long long)elements);
    /* The raw bytes go to the end of `out`: converting forwards never overtakes what is unread. */
    size_t bytes = count * tensor->element_bytes;
    unsigned char *raw = (unsigned char *)(out + count) - bytes;
    uint64_t offset = file->data_begin + tensor->begin + first * tensor->element_bytes;
    if (!read_at(file, raw, bytes, offset, error)) return false;
    for (size_t i = 0; i < count; i++) {
        float value = decode(raw + i * tensor->element_bytes, tensor->dtype);
        memcpy(&out[i], &value, sizeof value);
    }
    return true;
}
