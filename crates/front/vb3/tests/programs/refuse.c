/*
 * Runs a program under a seccomp filter that refuses a system call with EPERM, as a container's profile
 * does: new threads, kcmp or pidfd_getfd.
 *
 *   refuse threads|kcmp|getfd PROGRAM ARGUMENT...
 */
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <linux/sched.h>
#include <stddef.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define REFUSE (SECCOMP_RET_ERRNO | EPERM)

static struct sock_filter threads[] = {
	BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_clone3, 0, 1),
	BPF_STMT(BPF_RET | BPF_K, REFUSE),
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_clone, 0, 3),
	BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[0])),
	BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, CLONE_THREAD, 0, 1),
	BPF_STMT(BPF_RET | BPF_K, REFUSE),
	BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
};

#define ALL_OF(call) { \
	BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)), \
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, call, 0, 1), \
	BPF_STMT(BPF_RET | BPF_K, REFUSE), \
	BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW), \
}

static struct sock_filter kcmp[] = ALL_OF(SYS_kcmp);
static struct sock_filter getfd[] = ALL_OF(SYS_pidfd_getfd);

#define FILTER(array) { .len = sizeof(array) / sizeof(*array), .filter = array }

int main(int argc, char **argv)
{
	struct {
		const char *word;
		struct sock_fprog filter;
	} all[] = { { "threads", FILTER(threads) }, { "kcmp", FILTER(kcmp) }, { "getfd", FILTER(getfd) } };
	unsigned i = 0;

	while (argc >= 3 && i < 3 && strcmp(argv[1], all[i].word))
		i++;
	if (argc < 3 || i == 3 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ||
	    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &all[i].filter))
		return 2;
	execv(argv[2], argv + 2);
	return 3;
}
