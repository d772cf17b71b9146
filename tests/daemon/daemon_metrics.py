#!/usr/bin/python3
"""daemon_metrics.py PAGE [DASHBOARD] - is a page OpenMetrics, to Prometheus' own parser, and are a dashboard's metrics on it

Prints what is wrong; exit status 0 when nothing is.
"""
import json
import re
import sys

from prometheus_client.openmetrics.parser import text_string_to_metric_families

with open(sys.argv[1]) as page:
    families = list(text_string_to_metric_families(page.read()))
names = {f.name + ('_total' if f.type == 'counter' else '') for f in families}
wrong = ['family %s has no help' % f.name for f in families if not f.documentation]
wrong += ['family %s is of type %s' % (f.name, f.type) for f in families if f.type not in ('gauge', 'counter')]
if len(families) < 4:
    wrong.append('only %d families' % len(families))


def expressions(node):
    if isinstance(node, dict):
        if isinstance(node.get('expr'), str):
            yield node['expr']
        node = list(node.values())
    if isinstance(node, list):
        for n in node:
            yield from expressions(n)


if len(sys.argv) > 2:
    with open(sys.argv[2]) as f:
        exprs = list(expressions(json.load(f)))
    asked = {name for e in exprs for name in re.findall(r'\bztcpd?_\w+', e)}
    if len(asked) < 10:
        wrong.append('the dashboard asks for only %d metrics' % len(asked))
    wrong += ['the dashboard asks for %s, which is not there' % name for name in sorted(asked - names)]
for w in wrong:
    print('FAIL:', w)
sys.exit(bool(wrong))
