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
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/socket.h>
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
        else if (!strcmp(word, "chown")) result("chown", chown("/tmp", 77, 77));
        else if (!strcmp(word, "setuid")) result("setuid", setuid(atoi(argv[++i])));
        else if (!strcmp(word, "trap")) signal(SIGTERM, on_term);
        else if (!strcmp(word, "ignore")) signal(SIGTERM, SIG_IGN);
        else if (!strcmp(word, "raise")) raise(atoi(argv[++i]));
        else if (!strcmp(word, "exit")) return atoi(argv[++i]);
        else if (!strcmp(word, "orphan")) {
            if (!fork()) { /* its child outlives it, and ends soon after */
                if (!fork()) usleep(50000);
                _exit(0);
            }
        } else if (!strcmp(word, "wait")) for (;;) pause();
        else if (!strcmp(word, "pause")) usleep(1000 * atoi(argv[++i]));
        else return 99;
    }
    return 0;
}
