/* Runs the library where there is no Rust runtime at all. */
#include <stdint.h>
#include <stdlib.h>

int32_t vb3_nostd_run(void);

/* The toolchain's own alloc is built to unwind, and names this; with panic = "abort" nobody calls it. */
void rust_eh_personality(void);
void rust_eh_personality(void)
{
	abort();
}

int main(void)
{
	return vb3_nostd_run();
}
