#include "plan/plan.h"

#include <string.h>

static bool is_name(const char *name, size_t length, const char *known) {
    return strlen(known) == length && !strncmp(name, known, length);
}

static qkv_status fail_unknown(const char *source, const char *name, size_t length) {
    struct qkvi_text text = {0};
    for (size_t i = 0; i < qkvi_num_solvers; i++)
        qkvi_text_add(&text, "%s%s=%s", i ? ", " : "", qkvi_operation_name(qkvi_solvers[i]->operation),
                      qkvi_solvers[i]->name);
    qkv_status status = qkvi_fail(QKV_INVALID_ARGUMENT, "%s: no solver is called \"%.*s\"; there are %s", source,
                                  (int)length, name, qkvi_text_get(&text));
    qkvi_text_free(&text);
    return status;
}

/* Sets `name` for one operation, or for each that has a solver of that name where operation is negative. */
static bool choose(struct qkvi_choice *choice, int operation, const char *name, size_t length) {
    bool found = false;
    for (size_t i = 0; i < qkvi_num_solvers; i++) {
        const struct qkvi_solver *solver = qkvi_solvers[i];
        if (operation >= 0 && (int)solver->operation != operation) continue;
        if (!is_name(name, length, solver->name)) continue;
        memcpy(choice->name[solver->operation], name, length);
        choice->name[solver->operation][length] = '\0';
        found = true;
    }
    return found;
}

static qkv_status parse_item(struct qkvi_choice *choice, const char *item, size_t length, const char *source) {
    const char *equals = memchr(item, '=', length);
    if (!equals) return choose(choice, -1, item, length) ? QKV_OK : fail_unknown(source, item, length);
    size_t left = (size_t)(equals - item);
    for (int op = 0; op < QKVI_NUM_OPERATIONS; op++)
        if (is_name(item, left, qkvi_operation_name((enum qkvi_operation)op)))
            return choose(choice, op, equals + 1, length - left - 1) ? QKV_OK : fail_unknown(source, item, length);
    return qkvi_fail(QKV_INVALID_ARGUMENT,
                     "%s: \"%.*s\" is no operation; there are linear, attention, rotary, "
                     "copy, report and layer",
                     source, (int)left, item);
}

qkv_status qkvi_choice_parse(struct qkvi_choice *out, const struct qkvi_choice *base, const char *text,
                             const char *source) {
    struct qkvi_choice choice = base ? *base : (struct qkvi_choice){.clblast = false};
    while (text && *text) {
        size_t length = strcspn(text, ",");
        qkv_status status = parse_item(&choice, text, length, source);
        if (status) return status;
        text += length + (text[length] == ',');
    }
    *out = choice;
    return QKV_OK;
}
