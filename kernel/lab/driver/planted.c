// SPDX-License-Identifier: GPL-2.0-only
/*
 * Deliberate faults, one for each checker of the checked kernel. A parameter at load selects the fault,
 * which happens at once; the module does not stay loaded.
 */
#include <linux/compiler.h>
#include <linux/dma-mapping.h>
#include <linux/list.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/pci.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/timer.h>

static char *fault = "";
module_param(fault, charp, 0444);
MODULE_PARM_DESC(fault, "use-after-free, leak, lock-order, atomic-sleep, unmapped-dma, shift, object, list");

static struct pci_dev *edu;
static volatile int sink;

static void use_after_free(void)
{
	int *at = kmalloc(64, GFP_KERNEL), *kept = at;

	if (!at)
		return;
	OPTIMIZER_HIDE_VAR(kept);
	kfree(at);
	sink = kept[3];
}

/* Larger than other leaks, so that the test can identify it. */
static void leak(void)
{
	void *at = kmalloc(3333, GFP_KERNEL);

	OPTIMIZER_HIDE_VAR(at);
}

static DEFINE_MUTEX(one);
static DEFINE_MUTEX(two);

static void lock_order(void)
{
	mutex_lock(&one);
	mutex_lock(&two);
	mutex_unlock(&two);
	mutex_unlock(&one);
	mutex_lock(&two);
	mutex_lock(&one);
	mutex_unlock(&one);
	mutex_unlock(&two);
}

static DEFINE_SPINLOCK(spin);

static void atomic_sleep(void)
{
	spin_lock(&spin);
	might_sleep();
	spin_unlock(&spin);
}

/* Removes a mapping that was never made. */
static void unmapped_dma(void)
{
	dma_unmap_single(&edu->dev, 0x1234000, PAGE_SIZE, DMA_TO_DEVICE);
}

static void shift(void)
{
	int by = 40;

	OPTIMIZER_HIDE_VAR(by);
	sink = 1 << by;
}

static void no_timer(struct timer_list *timer)
{
}

static void object(void)
{
	struct timer_list *timer = kmalloc(sizeof(*timer), GFP_KERNEL);

	if (!timer)
		return;
	timer_setup(timer, no_timer, 0);
	mod_timer(timer, jiffies + HZ);
	/* Frees the timer while it runs. The checker stops the timer before it can do harm. */
	kfree(timer);
}

static void list(void)
{
	LIST_HEAD(head);
	struct list_head entry;

	list_add(&entry, &head);
	entry.next = &entry;
	list_del(&entry);
}

static const struct {
	const char *name;
	void (*plant)(void);
} faults[] = {
	{ "use-after-free", use_after_free },
	{ "leak", leak },
	{ "lock-order", lock_order },
	{ "atomic-sleep", atomic_sleep },
	{ "unmapped-dma", unmapped_dma },
	{ "shift", shift },
	{ "object", object },
	{ "list", list },
};

static int __init planted_init(void)
{
	unsigned int i;

	edu = pci_get_device(0x1234, 0x11e8, NULL);
	if (!edu)
		return -ENODEV;
	for (i = 0; i < ARRAY_SIZE(faults); i++)
		if (!strcmp(faults[i].name, fault))
			faults[i].plant();
	pci_dev_put(edu);
	/* Fails, so that the module does not stay loaded. */
	return -EAGAIN;
}

module_init(planted_init);

MODULE_DESCRIPTION("Faults on purpose, for the kernel's checkers to find");
MODULE_AUTHOR("videobuf3");
MODULE_LICENSE("GPL");
