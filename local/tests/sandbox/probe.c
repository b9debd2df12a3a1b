/* The program inside the images of these tests: does what its arguments say, one after the other. */
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

static void on_term(int signal) {
    (void)signal;
    write(1, "asked to stop\n", 14);
    _exit(7);
}

static void result(const char *what, int failed) {
    printf("%s: %s\n", what, failed ? strerrorname_np(errno) : "ok");
}

static void show(void) {
    char buffer[256];
    gid_t groups[32];
    struct rlimit files;
    int count = getgroups(32, groups);
    printf("cwd=%s\n", getcwd(buffer, sizeof buffer));
    printf("uid=%d gid=%d groups=", getuid(), getgid());
    for (int i = 0; i < count; i++) printf("%s%d", i ? "," : "", groups[i]);
    gethostname(buffer, sizeof buffer);
    printf("\nhostname=%s\npid=%d\n", buffer, getpid());
    getrlimit(RLIMIT_NOFILE, &files);
    printf("files=%lu\n", (unsigned long)files.rlim_cur);
    mode_t mask = umask(0);
    umask(mask);
    printf("umask=%03o\nnnp=%d\n", mask, prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0));
    struct sigaction action;
    sigaction(SIGPIPE, NULL, &action);
    printf("sigpipe=%s\n", action.sa_handler == SIG_DFL ? "default" : "ignored");
    for (char **entry = environ; *entry; entry++) printf("env %s\n", *entry);
}

static void list(const char *path) {
    DIR *dir = opendir(path);
    if (!dir) {
        printf("list %s: %s\n", path, strerrorname_np(errno));
        return;
    }
    for (struct dirent *entry; (entry = readdir(dir));)
        if (entry->d_name[0] != '.') printf("%s/%s\n", strcmp(path, "/") ? path : "", entry->d_name);
    closedir(dir);
}

static void cat(const char *path) {
    char line[4096];
    FILE *file = fopen(path, "r");
    if (!file) {
        printf("read %s: %s\n", path, strerrorname_np(errno));
        return;
    }
    while (fgets(line, sizeof line, file)) fputs(line, stdout);
    fclose(file);
}

static void write_to(const char *path, const char *text) {
    FILE *file = fopen(path, "w");
    int failed = !file || fputs(text, file) < 0 || fclose(file);
    printf("write %s: %s\n", path, failed ? strerrorname_np(errno) : "ok");
}

static void listen_on(int port) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    int failed = bind(fd, (struct sockaddr *)&address, sizeof address) || listen(fd, 8);
    result("listen", failed);
}

/* Attacks on whoever runs beside it. */

static void fork_bomb(void) {
    for (;;) fork();
}

/* Takes memory and uses it, in steps; the word says of which kind. */
static void eat(const char *kind) {
    const size_t step = 4 << 20;
    for (;;) {
        int flags = MAP_ANONYMOUS | (strcmp(kind, "shared") ? MAP_PRIVATE : MAP_SHARED);
        char *memory = mmap(NULL, step, PROT_READ | PROT_WRITE, flags, -1, 0);
        if (memory == MAP_FAILED) continue;
        memset(memory, 1, step);
    }
}

/* As a server does that has children: what they share is not theirs twice. */
static void share(int mib, int children) {
    char *memory = mmap(NULL, (size_t)mib << 20, PROT_READ | PROT_WRITE, MAP_ANONYMOUS | MAP_PRIVATE, -1, 0);
    memset(memory, 1, (size_t)mib << 20);
    for (int i = 0; i < children; i++) if (!fork()) for (;;) pause();
}

/* Writes until the disk is full, and says what the kernel said. */
static void fill(const char *path) {
    static char block[1 << 16];
    int fd = open(path, O_WRONLY | O_CREAT, 0600);
    while (fd >= 0 && write(fd, block, sizeof block) > 0) {}
    printf("fill: %s\n", strerrorname_np(errno));
}

static void many_files(const char *dir) {
    char path[256];
    for (long number = 0;; number++) {
        snprintf(path, sizeof path, "%s/%ld", dir, number);
        int fd = open(path, O_WRONLY | O_CREAT, 0600);
        if (fd < 0) break;
        close(fd);
    }
    printf("many-files: %s\n", strerrorname_np(errno));
}

static void spam(const char *line) {
    setvbuf(stdout, NULL, _IOFBF, 1 << 16);
    for (;;) puts(line);
}

static long ms(clockid_t clock) {
    struct timespec time;
    clock_gettime(clock, &time);
    return time.tv_sec * 1000 + time.tv_nsec / 1000000;
}

/* Is busy for so long, and says how much of a processor it had. */
static void spin(long wanted) {
    long start = ms(CLOCK_MONOTONIC);
    while (ms(CLOCK_MONOTONIC) < start + wanted) {}
    printf("used %ld ms\n", ms(CLOCK_PROCESS_CPUTIME_ID));
}

/* Takes SIGTERM without a handler. */
static void wait_for_term(void) {
    sigset_t set;
    int signal;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigprocmask(SIG_BLOCK, &set, NULL);
    puts("waiting");
    sigwait(&set, &signal);
    usleep(100000);
    _exit(8);
}

/* Opens the programs of processes that come, until it is asked to stop, and tells which are not its own. */
static void hunt(void) {
    struct stat own, found;
    char path[64];
    int newest = getpid();
    signal(SIGTERM, on_term);
    stat("/proc/self/exe", &own);
    puts("hunting");
    for (;;) {
        for (int pid = newest; pid < newest + 4; pid++) {
            snprintf(path, sizeof path, "/proc/%d/exe", pid);
            int fd = open(path, O_RDONLY | O_CLOEXEC);
            if (fd < 0) {
                if (errno != ENOENT && pid > newest) newest = pid;
                continue;
            }
            if (pid > newest) newest = pid;
            if (!fstat(fd, &found) && (found.st_dev != own.st_dev || found.st_ino != own.st_ino)) {
                puts("caught another program");
                result("chmod", fchmod(fd, 04755));
            }
            close(fd);
        }
    }
}

/* Lets /target lead to the program that follows the link and to this one by turns, until it is asked to stop. */
static void swap(void) {
    signal(SIGTERM, on_term);
    puts("swapping");
    for (;;) {
        symlink("/proc/self/exe", "/bad");
        rename("/bad", "/target");
        symlink("/probe", "/good");
        rename("/good", "/target");
    }
}

int main(int argc, char **argv) {
    setvbuf(stdout, NULL, _IOLBF, 0);
    for (int i = 1; i < argc; i++) {
        const char *word = argv[i];
        if (!strcmp(word, "show")) show();
        else if (!strcmp(word, "say")) puts(argv[++i]);
        else if (!strcmp(word, "complain")) fprintf(stderr, "%s\n", argv[++i]);
        else if (!strcmp(word, "list")) list(argv[++i]);
        else if (!strcmp(word, "cat")) cat(argv[++i]);
        else if (!strcmp(word, "write")) write_to(argv[i + 1], argv[i + 2]), i += 2;
        else if (!strcmp(word, "remove")) result("remove", unlink(argv[++i]));
        else if (!strcmp(word, "listen")) listen_on(atoi(argv[++i]));
        else if (!strcmp(word, "mount")) result("mount", mount("x", "/tmp", "tmpfs", 0, ""));
        else if (!strcmp(word, "unmount")) result("unmount", umount2(argv[++i], MNT_DETACH));
        else if (!strcmp(word, "open")) i++, result(argv[i], open(argv[i], O_RDWR) < 0);
        else if (!strcmp(word, "mknod")) result("mknod", mknod("/tmp/disk", S_IFBLK | 0600, 0x801));
        else if (!strcmp(word, "raw")) result("raw", socket(AF_INET, SOCK_RAW, 1) < 0);
        else if (!strcmp(word, "chmod")) i++, result(argv[i], chmod(argv[i], 0604));
        else if (!strcmp(word, "chown")) result("chown", chown("/tmp", 77, 77));
        else if (!strcmp(word, "setuid")) result("setuid", setuid(atoi(argv[++i])));
        else if (!strcmp(word, "trap")) signal(SIGTERM, on_term);
        else if (!strcmp(word, "trap-number")) signal(atoi(argv[++i]), on_term);
        else if (!strcmp(word, "ignore")) signal(SIGTERM, SIG_IGN);
        else if (!strcmp(word, "sigwait")) wait_for_term();
        else if (!strcmp(word, "hunt")) hunt();
        else if (!strcmp(word, "swap")) swap();
        else if (!strcmp(word, "raise")) raise(atoi(argv[++i]));
        else if (!strcmp(word, "crash")) *(volatile int *)0 = 0;
        else if (!strcmp(word, "exit")) return atoi(argv[++i]);
        else if (!strcmp(word, "orphan")) {
            if (!fork()) { /* its child outlives it, and ends soon after */
                if (!fork()) usleep(50000);
                _exit(0);
            }
        } else if (!strcmp(word, "fork-bomb")) fork_bomb();
        else if (!strcmp(word, "eat")) eat(argv[++i]);
        else if (!strcmp(word, "share")) share(atoi(argv[i + 1]), atoi(argv[i + 2])), i += 2;
        else if (!strcmp(word, "fill")) fill(argv[++i]);
        else if (!strcmp(word, "many-files")) many_files(argv[++i]);
        else if (!strcmp(word, "spam")) spam(argv[++i]);
        else if (!strcmp(word, "spin")) spin(atoi(argv[++i]));
        else if (!strcmp(word, "wait")) for (;;) pause();
        else if (!strcmp(word, "pause")) usleep(1000 * atoi(argv[++i]));
        else return 99;
    }
    return 0;
}
