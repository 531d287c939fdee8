#include "onnx/case.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/files.h"
#include "support/json.h"

static const struct role {
    const char *name;
    bool mask; /* booleans too; the operator also takes integers */
    bool integer;
} attention_roles[ONNX_MAX_INPUTS] = {{"Q", false, false},
                                      {"K", false, false},
                                      {"V", false, false},
                                      {"attn_mask", true, false},
                                      {"past_key", false, false},
                                      {"past_value", false, false},
                                      {"nonpad_kv_seqlen", false, true}},
  rotary_roles[ONNX_MAX_INPUTS] = {
      {"X", false, false}, {"cos_cache", false, false}, {"sin_cache", false, false}, {"position_ids", false, true}};

static const char *const attention_outputs[ONNX_MAX_OUTPUTS] = {"Y", "present_key", "present_value",
                                                                "qk_matmul_output"};
static const char *const rotary_outputs[ONNX_MAX_OUTPUTS] = {"Y"};

/* Everything that one data set holds. */
typedef struct data_set {
    onnx_tensor files[ONNX_MAX_INPUTS], given[ONNX_MAX_OUTPUTS], got[ONNX_MAX_OUTPUTS];
    onnx_values values[ONNX_MAX_OUTPUTS];
    const onnx_tensor *inputs[ONNX_MAX_INPUTS];
    bool wanted[ONNX_MAX_OUTPUTS];
} data_set;

static void data_set_free(data_set *set) {
    for (size_t i = 0; i < ONNX_MAX_INPUTS; i++)
        onnx_tensor_free(&set->files[i]);
    for (size_t i = 0; i < ONNX_MAX_OUTPUTS; i++) {
        onnx_tensor_free(&set->given[i]);
        onnx_tensor_free(&set->got[i]);
        onnx_values_free(&set->values[i]);
    }
}

static bool read_tensor(onnx_tensor *out, const char *folder, const char *kind, long number, tool_error *error) {
    char name[64];
    snprintf(name, sizeof name, "%s_%ld.pb", kind, number);
    char *path = tool_path(folder, name, error);
    const bool ok = path != NULL && onnx_tensor_read(out, path, error);
    free(path);
    return ok;
}

static bool read_data_set(data_set *set, const onnx_model *model, const char *folder, tool_error *error) {
    for (size_t i = 0; i < ONNX_MAX_INPUTS; i++) {
        const onnx_slot *slot = &model->inputs[i];
        if (!slot->given) continue;
        set->inputs[i] = slot->file >= 0 ? &set->files[i] : &slot->constant;
        if (slot->file >= 0 && !read_tensor(&set->files[i], folder, "input", slot->file, error)) return false;
    }
    for (size_t i = 0; i < ONNX_MAX_OUTPUTS; i++) {
        set->wanted[i] = model->outputs[i].given;
        if (set->wanted[i] && !read_tensor(&set->given[i], folder, "output", model->outputs[i].file, error))
            return false;
    }
    return true;
}

/* What the operator takes and this library does not: double precision, and masks of integers. */
static onnx_outcome check_types(const data_set *set, const onnx_model *model, tool_error *error) {
    const struct role *roles = model->op == ONNX_ATTENTION ? attention_roles : rotary_roles;
    for (size_t i = 0; i < ONNX_MAX_INPUTS; i++) {
        const onnx_tensor *t = set->inputs[i];
        if (t == NULL) continue;
        const bool stored = t->dtype == QKV_F32 || t->dtype == QKV_F16 || t->dtype == QKV_BF16;
        const bool integer = t->dtype == QKV_I32 || t->dtype == QKV_I64;
        if (roles[i].integer ? integer : stored || (roles[i].mask && t->dtype == QKV_BOOL)) continue;
        const bool known = !roles[i].integer && (strcmp(onnx_type_name(t->type), "DOUBLE") == 0 ||
                                                 (roles[i].mask && strstr(onnx_type_name(t->type), "INT") != NULL));
        tool_fail(error, "%s is %s, which %s", roles[i].name, onnx_type_name(t->type),
                  known ? "is not a dtype of this library" : "the operator does not take");
        return known ? ONNX_SKIPPED : ONNX_FAILED;
    }
    return ONNX_PASSED;
}

static bool run_node(data_set *set, onnx_device *device, const onnx_model *model, tool_error *error) {
    onnx_attention attention;
    onnx_rotary rotary;
    if (model->op == ONNX_ATTENTION)
        return onnx_attention_open(&attention, &model->attributes, set->inputs, error) &&
               onnx_attention_evaluate(set->values, &attention, set->wanted, error) &&
               onnx_attention_run(set->got, device, &attention, set->wanted, error);
    return onnx_rotary_open(&rotary, &model->attributes, set->inputs, error) &&
           onnx_rotary_evaluate(set->values, &rotary, error) && onnx_rotary_run(set->got, device, &rotary, error);
}

static bool compare_all(onnx_result *out, const data_set *set, const onnx_model *model) {
    const char *const *names = model->op == ONNX_ATTENTION ? attention_outputs : rotary_outputs;
    bool first = true;
    for (size_t i = 0; i < ONNX_MAX_OUTPUTS; i++) {
        if (!set->wanted[i]) continue;
        if (first) out->dtype = set->got[i].dtype;
        first = false;
        if (!onnx_compare(&out->difference, names[i], &set->got[i], &set->given[i], &set->values[i], &out->tolerance,
                          &out->error))
            return false;
    }
    return true;
}

static void run_data_set(onnx_result *out, onnx_device *device, const onnx_model *model, const char *folder) {
    data_set set;
    memset(&set, 0, sizeof set);
    if (!read_data_set(&set, model, folder, &out->error))
        out->outcome = ONNX_FAILED;
    else
        out->outcome = check_types(&set, model, &out->error);
    if (out->outcome == ONNX_PASSED && !(run_node(&set, device, model, &out->error) && compare_all(out, &set, model)))
        out->outcome = ONNX_FAILED;
    data_set_free(&set);
}

/* ONNX's own tolerance, unless the case brings another one. */
static bool read_tolerance(onnx_tolerance *out, const char *folder, tool_error *error) {
    *out = (onnx_tolerance){.rtol = 1e-3, .atol = 1e-7};
    char *path = tool_path(folder, "data.json", error);
    if (path == NULL) return false;
    json_t *object = tool_file_exists(path) ? tool_json_read(path, 1 << 20, 0, error) : json_object();
    free(path);
    if (object == NULL) return false;
    const json_t *rtol = json_object_get(object, "rtol"), *atol = json_object_get(object, "atol");
    if (json_is_number(rtol)) out->rtol = json_number_value(rtol);
    if (json_is_number(atol)) out->atol = json_number_value(atol);
    json_decref(object);
    return true;
}

static int is_data_set(const struct dirent *entry) {
    return strncmp(entry->d_name, "test_data_set_", 14) == 0;
}

static void run_data_sets(onnx_result *out, onnx_device *device, const onnx_model *model, const char *folder) {
    struct dirent **entries = NULL;
    const int count = scandir(folder, &entries, is_data_set, alphasort);
    if (count <= 0) {
        tool_fail(&out->error, "%s: it has no test_data_set_0", folder);
        out->outcome = ONNX_FAILED;
    }
    for (int i = 0; i < count; i++) {
        char *path = out->outcome == ONNX_PASSED ? tool_path(folder, entries[i]->d_name, &out->error) : NULL;
        if (path != NULL)
            run_data_set(out, device, model, path);
        else if (out->outcome == ONNX_PASSED)
            out->outcome = ONNX_FAILED;
        free(path);
        free(entries[i]);
    }
    free(entries);
}

void onnx_case_run(onnx_result *out, onnx_device *device, const char *folder) {
    onnx_model model;
    memset(out, 0, sizeof *out);
    memset(&model, 0, sizeof model);
    char *path = tool_path(folder, "model.onnx", &out->error);
    if (path == NULL || !onnx_model_read(&model, path, &out->error) ||
        !read_tolerance(&out->tolerance, folder, &out->error)) {
        out->outcome = ONNX_FAILED;
    } else {
        run_data_sets(out, device, &model, folder);
    }
    onnx_model_free(&model);
    free(path);
}
