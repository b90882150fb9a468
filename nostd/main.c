/* Runs the library without any Rust runtime. */
#include <stdint.h>
#include <stdlib.h>

int32_t vb3_nostd_run(void);

/* The toolchain's alloc is built to unwind, and refers to this; with panic = "abort" nothing calls
 * it. */
void rust_eh_personality(void);
void rust_eh_personality(void)
{
	abort();
}

int main(void)
{
	return vb3_nostd_run();
}
