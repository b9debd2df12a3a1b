/* A web service for tests: answers on $PORT as $MODE says. Without a library of its own it is one static file.
 *
 *   MODE=well      every path answers 200 with the instance and the zone
 *   MODE=sick      every path answers 503
 *   MODE=exit      says why and ends with code 7
 *   MODE=deaf      runs and does not listen
 *   MODE=loopback  listens on 127.0.0.1 only
 *   MODE=elsewhere listens on port 3000
 *   STATUS="400 X" the status line of every answer
 *
 * GET /end ends it with code 3.
 */
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static void end(int signal) {
    (void)signal;
    _exit(0);
}

static const char *set(const char *name, const char *otherwise) {
    const char *value = getenv(name);
    return value ? value : otherwise;
}

int main(void) {
    const char *mode = set("MODE", "well");
    signal(SIGTERM, end);
    signal(SIGPIPE, SIG_IGN);
    setvbuf(stdout, NULL, _IOLBF, 0);
    printf("starting in mode %s\n", mode);
    if (!strcmp(mode, "exit")) {
        fprintf(stderr, "cannot go on: the test says so\n");
        return 7;
    }
    if (!strcmp(mode, "deaf"))
        for (;;)
            pause();

    int listening = socket(AF_INET, SOCK_STREAM, 0);
    int yes = 1;
    setsockopt(listening, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    struct sockaddr_in here = {.sin_family = AF_INET,
                               .sin_port = htons((unsigned short)atoi(set("PORT", "0")))};
    if (!strcmp(mode, "loopback"))
        here.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (!strcmp(mode, "elsewhere"))
        here.sin_port = htons(3000);
    if (bind(listening, (struct sockaddr *)&here, sizeof here) || listen(listening, 64)) {
        perror("listen");
        return 1;
    }
    char body[256], answer[512], request[4096];
    int sick = !strcmp(mode, "sick");
    snprintf(body, sizeof body, "%s %s %s\n", set("LANDFALL_INSTANCE_ID", "?"),
             set("LANDFALL_ZONE", "?"), set("GREETING", "hello"));
    snprintf(answer, sizeof answer,
             "HTTP/1.1 %s\r\nContent-Length: %zu\r\nConnection: close\r\n\r\n%s",
             set("STATUS", sick ? "503 Service Unavailable" : "200 OK"), strlen(body), body);
    for (;;) {
        int client = accept(listening, NULL, NULL);
        if (client < 0)
            continue;
        /* A request of a test fits into one read. */
        if (read(client, request, sizeof request) > 9) {
            if (!strncmp(request, "GET /end ", 9))
                _exit(3);
            if (write(client, answer, strlen(answer)) < 0)
                perror("write");
        }
        shutdown(client, SHUT_WR);
        while (read(client, request, sizeof request) > 0) {
        }
        close(client);
    }
}
