/* A hostile dynamic loader: it runs as the program that names it, and tries to change that program's file.
   It has no C library and no relocations, since the kernel starts it in a process that is not its own. */
#include <fcntl.h>
#include <sys/syscall.h>

static long call(long number, long a, long b, long c, long d) {
#if defined(__x86_64__)
    long result;
    register long fourth __asm__("r10") = d;
    __asm__ volatile("syscall" : "=a"(result) : "a"(number), "D"(a), "S"(b), "d"(c), "r"(fourth) : "rcx", "r11", "memory");
    return result;
#elif defined(__aarch64__)
    register long x8 __asm__("x8") = number;
    register long x0 __asm__("x0") = a;
    register long x1 __asm__("x1") = b;
    register long x2 __asm__("x2") = c;
    register long x3 __asm__("x3") = d;
    __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3) : "memory");
    return x0;
#endif
}

#define SAY(text) call(SYS_write, 1, (long)(text), sizeof(text) - 1, 0)

void _start(void) {
    static const char exe[] = "/proc/self/exe";
    SAY("the hostile loader runs\n");
    long fd = call(SYS_openat, AT_FDCWD, (long)exe, O_RDONLY, 0);
    if (!call(SYS_fchmod, fd, 04755, 0, 0)) SAY("it changed the mode\n");
    if (call(SYS_openat, AT_FDCWD, (long)exe, O_WRONLY, 0) >= 0) SAY("it opened the file for writing\n");
    call(SYS_exit_group, 0, 0, 0, 0);
    __builtin_unreachable();
}
