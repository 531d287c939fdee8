#include "devices/child.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#ifdef __linux__
#include <sys/prctl.h>
#endif

#include "support/error.h"

/* Drivers write to standard output and error as they please: what the child finds goes through a descriptor of its own. */
enum { CHANNEL = 3, MAX_ARGUMENTS = 8 };
/* No line is longer than a listing of a few hundred devices. */
#define LINE_MAX_BYTES ((size_t)64 << 20)
/* How long a killed child may take to be gone: one that sleeps in a driver's system call cannot be killed at all. */
#define REAP_MS 5000

const char *child_program = "qkv-devices";

struct reader {
    char *bytes; /* an unfinished line */
    size_t size, capacity;
    void (*line)(void *user, json_t *value);
    void *user;
    bool open;
    struct child_end *end;
};

static void take_line(struct reader *reader, const char *text, size_t length) {
    json_t *value = json_loadb(text, length, JSON_REJECT_DUPLICATES, NULL);
    /* The first line is about the child itself: that its main() was reached, or why not. */
    const char *failed = json_string_value(json_object_get(value, "not started"));
    if (failed)
        reader->end->error = (int)strtol(failed, NULL, 10);
    else if (json_is_true(json_object_get(value, "started")))
        reader->end->started = true;
    else if (json_is_object(value))
        reader->line(reader->user, value);
    json_decref(value);
}

static void take_lines(struct reader *reader) {
    size_t begin = 0;
    for (size_t i = 0; i < reader->size; i++) {
        if (reader->bytes[i] != '\n') continue;
        take_line(reader, reader->bytes + begin, i - begin);
        begin = i + 1;
    }
    memmove(reader->bytes, reader->bytes + begin, reader->size - begin);
    reader->size -= begin;
}

static void read_channel(struct reader *reader, int fd) {
    tool_error error;
    char chunk[16384];
    ssize_t got = read(fd, chunk, sizeof chunk);
    if (got < 0 && (errno == EINTR || errno == EAGAIN)) return;
    if (got <= 0 || reader->size + (size_t)got > LINE_MAX_BYTES ||
        !tool_grow(&reader->bytes, &reader->capacity, reader->size + (size_t)got, 1, &error)) {
        reader->open = false;
        return;
    }
    memcpy(reader->bytes + reader->size, chunk, (size_t)got);
    reader->size += (size_t)got;
    if (memchr(chunk, '\n', (size_t)got)) take_lines(reader);
}

/* Keeps the last line that says something. */
static bool read_words(char *tail, size_t size, size_t *used, int fd) {
    char chunk[4096];
    ssize_t got = read(fd, chunk, sizeof chunk);
    if (got < 0 && (errno == EINTR || errno == EAGAIN)) return true;
    for (ssize_t i = 0; i < got; i++) {
        unsigned char c = (unsigned char)chunk[i];
        if (c == '\n') {
            if (*used) tail[*used] = '\0';
            *used = 0;
        } else if (*used + 1 < size) {
            tail[*used] = chunk[i];
            if (c < 0x20 || c == 0x7f) tail[*used] = ' ';
            tail[++*used] = '\0';
        }
    }
    return got > 0;
}

/* {"not started": "024"} is line enough, and needs nothing that is not safe between fork and exec. */
static void give_up(int channel) {
    char text[] = "{\"not started\": \"000\"}\n";
    size_t digit = sizeof text - 5;
    for (int rest = errno; rest > 0 && text[digit] != '"'; rest /= 10)
        text[digit--] = (char)('0' + rest % 10);
    (void)!write(channel, text, sizeof text - 1);
    _exit(127);
}

/* Should the parent be killed, the child must not stay: at once where the system can do that, else by an alarm. */
static void die_with(pid_t parent, double seconds) {
    (void)alarm((unsigned)seconds + 10);
#ifdef __linux__
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
#endif
    if (getppid() != parent) _exit(127);
}

/* The child's side, between fork and exec: only what is safe there. */
static void become(const char *const *arguments, int channel, int words) {
    char name[] = "qkv-devices", option[] = "--child", self[] = "/proc/self/exe";
    char *argv[MAX_ARGUMENTS + 3] = {name, option};
    int in = open("/dev/null", O_RDONLY);
    for (size_t i = 0; i < MAX_ARGUMENTS && arguments[i]; i++)
        argv[i + 2] = (char *)(uintptr_t)arguments[i];
    (void)setpgid(0, 0);
    /* Out of the way first, where a descriptor already has a number that is wanted. */
    int high_channel = fcntl(channel, F_DUPFD, CHANNEL + 1), high_words = fcntl(words, F_DUPFD, CHANNEL + 1);
    if (high_channel < 0 || high_words < 0) give_up(channel);
    if (dup2(high_words, STDOUT_FILENO) < 0 || dup2(high_words, STDERR_FILENO) < 0 || dup2(high_channel, CHANNEL) < 0)
        give_up(high_channel);
    if (in >= 0 && in != STDIN_FILENO) (void)dup2(in, STDIN_FILENO);
    (void)close(high_channel);
    (void)close(high_words);
    if (access(self, X_OK) == 0) (void)execv(self, argv);
    (void)execvp(child_program, argv);
    give_up(CHANNEL);
}

/* True once it is gone. */
static bool reap(struct child_end *end, pid_t child) {
    int status;
    pid_t got = waitpid(child, &status, WNOHANG);
    if (got == 0 || (got < 0 && errno == EINTR)) return false;
    if (got < 0) return true;
    end->signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
    end->status = WIFEXITED(status) ? WEXITSTATUS(status) : 0;
    return true;
}

/* The group of the child that runs, for whoever interrupts the tool: a child that hangs must not stay behind. */
static volatile sig_atomic_t running_group;
static void (*volatile clean_up)(void);

void child_at_interrupt(void (*what)(void)) {
    clean_up = what;
}

static void interrupted(int number) {
    void (*clean)(void) = clean_up;
    if (running_group) (void)kill(-(pid_t)running_group, SIGKILL);
    if (clean) clean();
    (void)signal(number, SIG_DFL);
    (void)raise(number);
}

static void guard_children(void) {
    static const int numbers[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGPIPE};
    struct sigaction action = {.sa_handler = interrupted}, old;
    (void)sigemptyset(&action.sa_mask);
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
        if (sigaction(numbers[i], NULL, &old) == 0 && old.sa_handler == SIG_DFL)
            (void)sigaction(numbers[i], &action, NULL);
}

static void pause_ms(int milliseconds) {
    (void)poll(NULL, 0, milliseconds);
}

/* The two pipes from the child. */
struct ears {
    struct reader *reader;
    int channel, words;
    size_t used; /* of the words' last line */
    bool talks;
};

/* False where nothing came within that time. */
static bool listen_to(struct ears *ears, int milliseconds) {
    struct child_end *end = ears->reader->end;
    struct pollfd fds[2] = {{ears->reader->open ? ears->channel : -1, POLLIN, 0},
                            {ears->talks ? ears->words : -1, POLLIN, 0}};
    (void)poll(fds, 2, milliseconds);
    if (fds[0].revents) read_channel(ears->reader, ears->channel);
    if (fds[1].revents) ears->talks = read_words(end->words, sizeof end->words, &ears->used, ears->words);
    return fds[0].revents || fds[1].revents;
}

/* Reads until the child is gone or its time is up. */
static void follow(struct child_end *end, struct ears *ears, pid_t child, double seconds) {
    double deadline = tool_clock_ms() + seconds * 1e3, left = seconds * 1e3;
    bool gone = false;
    while (!gone && left > 0) {
        /* Both pipes end with the child, unless it left one to a program of its own: so look after it as well. */
        if (!listen_to(ears, left < 50 ? (int)left + 1 : 50)) gone = reap(end, child);
        left = deadline - tool_clock_ms();
    }
    if (gone) {
        (void)kill(-child, SIGKILL);
        /* What it wrote after that last look; who outlives it and goes on talking is not heard for ever. */
        while (listen_to(ears, 0) && tool_clock_ms() < deadline)
            continue;
        return;
    }
    end->timed_out = true;
    (void)kill(-child, SIGKILL);
    (void)kill(child, SIGKILL);
    for (int waited = 0; waited < REAP_MS && !reap(end, child); waited += 10)
        pause_ms(10);
}

static bool open_pipes(int channel[2], int words[2]) {
    if (pipe(channel) != 0) return false;
    if (pipe(words) != 0) {
        int error = errno;
        (void)close(channel[0]);
        (void)close(channel[1]);
        errno = error;
        return false;
    }
    for (int i = 0; i < 2; i++) {
        (void)fcntl(channel[i], F_SETFD, FD_CLOEXEC);
        (void)fcntl(words[i], F_SETFD, FD_CLOEXEC);
    }
    return true;
}

bool child_run(struct child_end *end, const char *const *arguments, double seconds,
               void (*line)(void *user, json_t *value), void *user) {
    struct reader reader = {.line = line, .user = user, .open = true, .end = end};
    int channel[2], words[2];
    *end = (struct child_end){.status = 0};
    if (!open_pipes(channel, words)) {
        end->error = errno;
        return false;
    }
    (void)fflush(NULL);
    guard_children();
    pid_t parent = getpid(), child = fork();
    if (child == 0) {
        die_with(parent, seconds);
        become(arguments, channel[1], words[1]);
    }
    if (child < 0) end->error = errno;
    /* Here as well, so that the group is there before anybody is told of it. */
    if (child > 0) (void)setpgid(child, child);
    running_group = child > 0 ? (sig_atomic_t)child : 0;
    (void)close(channel[1]);
    (void)close(words[1]);
    struct ears ears = {.reader = &reader, .channel = channel[0], .words = words[0], .talks = true};
    if (child > 0) follow(end, &ears, child, seconds);
    running_group = 0;
    (void)close(channel[0]);
    (void)close(words[0]);
    free(reader.bytes);
    end->started = end->started || end->timed_out || end->signal;
    errno = end->error;
    return end->started;
}

static const char *signal_name(int number) {
    switch (number) {
    case SIGABRT:
        return "SIGABRT";
    case SIGSEGV:
        return "SIGSEGV";
    case SIGBUS:
        return "SIGBUS";
    case SIGILL:
        return "SIGILL";
    case SIGFPE:
        return "SIGFPE";
    case SIGKILL:
        return "SIGKILL: out of memory?";
    default:
        return NULL;
    }
}

void child_describe(char *text, size_t size, const struct child_end *end, double seconds) {
    if (!end->started)
        snprintf(text, size, "could not be started: %s",
                 end->error      ? strerror(end->error)
                 : end->words[0] ? end->words
                                 : "it ended at once");
    else if (end->timed_out)
        snprintf(text, size, "did not answer within %g s", seconds);
    else if (end->signal && signal_name(end->signal))
        snprintf(text, size, "crashed (%s)", signal_name(end->signal));
    else if (end->signal)
        snprintf(text, size, "crashed (signal %d)", end->signal);
    else
        snprintf(text, size, "ended the program with status %d", end->status);
}

void child_tell(json_t *line) {
    char *text = json_dumps(line, JSON_COMPACT);
    size_t length = text ? strlen(text) : 0;
    json_decref(line);
    for (size_t at = 0; text && at <= length;) {
        ssize_t put = at < length ? write(CHANNEL, text + at, length - at) : write(CHANNEL, "\n", 1);
        if (put < 0 && errno == EINTR) continue;
        if (put <= 0) _exit(1);
        at += (size_t)put;
    }
    free(text);
}

int child_main(int argc, char **argv) {
    /* What a driver starts must not hold the channel open. */
    if (fcntl(CHANNEL, F_SETFD, FD_CLOEXEC) != 0) {
        fprintf(stderr, "qkv-devices: --child is what the tool starts itself with\n");
        return 2;
    }
    child_tell(json_pack("{s:b}", "started", 1));
    if (argc >= 1 && strcmp(argv[0], "list") == 0) return child_list(argc >= 2 ? argv[1] : NULL);
    if (argc >= 3 && strcmp(argv[0], "probe") == 0)
        return child_probe(argv[1], strtoul(argv[2], NULL, 10), argc >= 4 && strcmp(argv[3], "memory") == 0);
    if (argc >= 2 && strcmp(argv[0], "driver") == 0) return child_driver(argv[1]);
    if (argc >= 1 && strcmp(argv[0], "loader") == 0) return child_loader();
    if (argc >= 2 && strcmp(argv[0], "measure") == 0) return child_measure(argv[1]);
    if (argc >= 2 && strcmp(argv[0], "self-test") == 0) return child_self_test(argv[1]);
    return 2;
}
