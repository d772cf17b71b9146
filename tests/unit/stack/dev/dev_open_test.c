/* dev_open_test.c - texts that name devices, and the library that holds the stack */
#include <criterion/criterion.h>
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "stack/include/ztcp_stack.h"

static int refused(const char *spec, const char *word)
{
	struct dev_conf conf = { 0 };
	struct dev_error err = { "" };
	struct dev *d = NULL;
	int rc = dev_open(spec, &conf, &d, &err);

	cr_expect_not_null(strstr(err.text, word), "%s: \"%s\" without \"%s\"", spec, err.text,
			   word);
	cr_expect_null(d);
	return rc;
}

Test(dev_open, wrong_texts_are_refused_in_words)
{
	static const char *const none[] = { "", "tap", "nosuch:x", ":x", "tapx:y", "ta:y" };

	for (unsigned int i = 0; i < sizeof(none) / sizeof(none[0]); i++)
		cr_expect_eq(refused(none[i], "no kind of device"), -EINVAL);
	cr_expect_eq(refused("tap:", "no name"), -EINVAL);
	cr_expect_eq(refused("tap:,mtu=1500", "no name"), -EINVAL);
	cr_expect_eq(refused("tap:sixteen-is-a-lot", "no name"), -EINVAL);
	cr_expect_eq(refused("tap:t,color=3", "color=3"), -EINVAL);
	cr_expect_eq(refused("tap:t,", "no option"), -EINVAL);
}

Test(dev_open, numbers_are_numbers_in_range)
{
	static const char *const bad[] = { "mtu=",      "mtu=x",
					   "mtu=-1500", "mtu= 1500",
					   "mtu=1500x", "mtu=1",
					   "mtu=99999", "mtu=99999999999999999999" };

	for (unsigned int i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		char spec[64];

		snprintf(spec, sizeof(spec), "tap:t,%s", bad[i]);
		cr_expect_eq(refused(spec, "mtu must be a number from 576 to 65521"), -EINVAL, "%s",
			     bad[i]);
	}
}

Test(dev_open, options_are_set_and_the_name_is_kept)
{
	uint32_t queue = 7, mtu = 1500;
	const struct dev_option options[] = { { "queue", 0, 63, &queue },
					      { "mtu", 1, 9000, &mtu } };
	struct dev_error err;
	char name[DEV_NAME_MAX];

	cr_expect_eq(dev_spec_parse("eth0", name, options, 2, &err), 0);
	cr_expect_str_eq(name, "eth0");
	cr_expect_eq(queue, 7);
	cr_expect_eq(dev_spec_parse("fifteen-letters,mtu=9000,queue=0", name, options, 2, &err), 0);
	cr_expect_str_eq(name, "fifteen-letters");
	cr_expect_eq(queue, 0);
	cr_expect_eq(mtu, 9000);
}

Test(ztcp_stack, opens_at_run_time_and_holds_every_call)
{
	char path[4096];
	const struct ztcp_stack *s;
	const char *build = getenv("ZTCP_BUILD");
	void *so;

	if (!build)
		cr_skip("ZTCP_BUILD does not name the build folder");
	snprintf(path, sizeof(path), "%s/lib/" ZTCP_STACK_LIBRARY, build);
	so = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	cr_assert_not_null(so, "%s", dlerror());
	s = dlsym(so, ZTCP_STACK_SYMBOL);
	cr_assert_not_null(s);
	cr_expect_eq(s->version, ZTCP_STACK_VERSION);
#define STACK_CALL(name) cr_expect_not_null(s->name, #name);
#include "stack/include/ztcp_stack.def"
#undef STACK_CALL
	cr_expect_neq(s->dev_open, dev_open, "a copy of its own");
	dlclose(so);
}
