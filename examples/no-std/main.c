/* Runs the library without any Rust runtime. */
#include <stdint.h>
#include <stdlib.h>

int32_t vb3_no_std_run(void);

/* The toolchain's alloc crate is built with unwinding, so it refers to this function. With
* panic = "abort", nothing calls the function. */
void rust_eh_personality(void);
void rust_eh_personality(void)
{
	abort();
}

int main(void)
{
	return vb3_no_std_run();
}
