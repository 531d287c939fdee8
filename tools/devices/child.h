/*
 * The tool itself never touches OpenCL: whatever may crash or hang runs in a child, which is this program started anew
 * (OpenCL does not survive fork) and tells by lines of JSON what it found.
 */
#ifndef QKV_TOOLS_DEVICES_CHILD_H
#define QKV_TOOLS_DEVICES_CHILD_H

#include <jansson.h>
#include <stdbool.h>

/* argv[0], for systems that do not say where a running program lies. */
extern const char *child_program;

/* How a child ended. */
struct child_end {
    bool started; /* false: nothing that OpenCL is to blame for happened */
    int error;    /* errno of why it did not, or 0 */
    bool timed_out;
    int signal;      /* it died of, or 0 */
    int status;      /* it exited with */
    char words[200]; /* the last line it, or its driver, wrote to standard output or error */
};
static inline bool child_good(const struct child_end *end) {
    return end->started && !end->timed_out && end->signal == 0 && end->status == 0;
}

/*
 * Runs "this program --child ARGUMENT..." for at most `seconds`, kills it and what it started after that, and reaps it.
 * `line` gets each line as it comes; the value is the caller's to keep only with json_incref(). False, with errno, if it
 * could not be started.
 */
bool child_run(struct child_end *end, const char *const *arguments, double seconds,
               void (*line)(void *user, json_t *value), void *user);

/* "crashed (SIGSEGV)", "did not answer within 60 s", "could not be started: Too many open files". */
void child_describe(char *text, size_t size, const struct child_end *end, double seconds);

/* What is to be done, in a signal handler, before the tool is interrupted; NULL: nothing. */
void child_at_interrupt(void (*clean_up)(void));

/* ---- in the child ---- */
/* main() of a child: the arguments after --child. */
int child_main(int argc, char **argv);
void child_tell(json_t *line); /* takes the reference */

int child_list(const char *selector);                                    /* listing.c */
int child_probe(const char *selector, size_t from, bool measure_memory); /* probes.c */
int child_measure(const char *selector);                                 /* work.c */
int child_self_test(const char *selector);                               /* work.c */
int child_driver(const char *library);                                   /* driver.c */
int child_loader(void);                                                  /* driver.c */

#endif
