/* dev_spec.c - what the kinds of devices share when they open: options, errors, descriptors */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "stack/dev/dev_open.h"

int dev_fail(struct dev_error *err, int rc, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	vsnprintf(err->text, sizeof(err->text), format, ap);
	va_end(ap);
	return rc;
}

int dev_fd_keep(const struct dev_conf *conf, int fd)
{
	return conf->fd_keep ? conf->fd_keep(fd) : fd;
}

static int option_set(const char *text, size_t len, const struct dev_option *o,
		      struct dev_error *err)
{
	size_t name = strlen(o->name);
	unsigned long value;
	char *end;

	errno = 0;
	value = strtoul(text + name + 1, &end, 10);
	if (errno || end != text + len || len < name + 2 || text[name + 1] < '0' ||
	    text[name + 1] > '9' || value < o->min || value > o->max)
		return dev_fail(err, -EINVAL, "%s must be a number from %u to %u, not \"%.*s\"",
				o->name, o->min, o->max, (int)len, text);
	*o->value = (uint32_t)value;
	return 0;
}

static const struct dev_option *option_find(const char *text, size_t len,
					    const struct dev_option *options, unsigned int n)
{
	for (unsigned int i = 0; i < n; i++) {
		size_t name = strlen(options[i].name);

		if (len > name && text[name] == '=' && !memcmp(text, options[i].name, name))
			return &options[i];
	}
	return NULL;
}

int dev_spec_parse(const char *rest, char *name, const struct dev_option *options,
		   unsigned int noptions, struct dev_error *err)
{
	size_t len = strcspn(rest, ",");

	if (len == 0 || len >= DEV_NAME_MAX)
		return dev_fail(err, -EINVAL, "\"%.*s\" is no name of an interface",
				(int)(len < 40 ? len : 40), rest);
	memcpy(name, rest, len);
	name[len] = '\0';
	for (rest += len; *rest; rest += len) {
		const struct dev_option *o;
		int rc;

		rest++; /* the comma */
		len = strcspn(rest, ",");
		o = option_find(rest, len, options, noptions);
		if (!o)
			return dev_fail(err, -EINVAL,
					"\"%.*s\" is no option of this kind of device",
					(int)(len < 40 ? len : 40), rest);
		rc = option_set(rest, len, o, err);
		if (rc)
			return rc;
	}
	return 0;
}
