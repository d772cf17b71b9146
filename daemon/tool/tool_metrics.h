/* tool_metrics.h - the open connections as OpenMetrics text
 *
 * For `ztcp metrics` and `ztcpd --metrics`; one thread.
 */
#ifndef ZTCP_TOOL_METRICS_H
#define ZTCP_TOOL_METRICS_H

#include <stdio.h>

/** metrics_print() - all families, without the end mark. @out: NULL: as JSON on standard output. Return: 0, or -errno after a line on standard error. */
int metrics_print(FILE *out);

#endif
