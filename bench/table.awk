# table.awk - medians, spread and ratios of one build/bench/<workload>.tsv (cases= names cases.tsv)

function human(v) {
	if (v >= 9.995e5) return sprintf("%.3gM", v / 1e6)
	if (v >= 9995) return sprintf("%.3gk", v / 1e3)
	return sprintf(v >= 100 ? "%.0f" : "%.3g", v)
}

function sorted_in(key,    i, j, t) {
	for (i = 2; i <= n[key]; i++) {
		t = val[key, i]
		for (j = i - 1; j > 0 && val[key, j] > t; j--) val[key, j + 1] = val[key, j]
		val[key, j + 1] = t
	}
}

function median(key,    m) {
	m = n[key]
	if (!m) return 0
	return m % 2 ? val[key, (m + 1) / 2] : (val[key, m / 2] + val[key, m / 2 + 1]) / 2
}

# How many times better a is than b.
function ratio(a, b, better) {
	if (!a || !b) return 0
	return better == "higher" ? a / b : b / a
}

# How many times better configuration a is than b: the middle one of the rounds' ratios.
function times(cm, a, b, better,    i, m) {
	m = n[cm, a] < n[cm, b] ? n[cm, a] : n[cm, b]
	for (i = 1; i <= m; i++) val["times", i] = ratio(raw[cm, a, i], raw[cm, b, i], better)
	n["times"] = m
	sorted_in("times")
	return median("times")
}

# The kernel configuration of this figure with the best median among those named ("-": all).
function kernel_best(cm, names, better,    i, k, v, best, bv) {
	best = ""
	for (i = 1; i <= nconf; i++) {
		k = conf[i]
		if (kind[k] != "kernel" || !n[cm, k]) continue
		if (names != "-" && index("," names ",", "," k ",") == 0) continue
		v = med[cm, k]
		if (best == "" || (better == "higher" ? v > bv : v < bv)) { best = k; bv = v }
	}
	return best
}

# A bar is a ratio; "+N": ours may be N more than the kernel; "<N": ours may be N.
function judged(bar, aim, r, ours, kernel) {
	if (bar ~ /^\+/)
		return sprintf("%+.3g, at most %s: %s", ours - kernel, bar, \
			ours - kernel <= bar + 0 ? "met" : "NOT MET")
	if (bar ~ /^</)
		return sprintf("at most %s: %s", substr(bar, 2), ours <= substr(bar, 2) + 0 ? "met" : "NOT MET")
	return sprintf("at least %s, aim %s: %s", bar, aim, r >= aim + 0 ? "aim met" : \
		r >= bar + 0 ? "met" : "NOT MET")
}

function show(i,    cm, c, k, kb, r, r1, line) {
	cm = case_of[i] SUBSEP metric_of[i]
	line = sprintf("  %-*s", wide, title_of[i])
	for (c = 1; c <= nconf; c++) {
		k = conf[c]
		if (!n[cm, k]) { line = line sprintf("  %26s", "-"); continue }
		line = line sprintf("  %26s", human(med[cm, k]) " (" human(val[cm, k, 1]) " - " \
			human(val[cm, k, n[cm, k]]) ")")
	}
	print line
	for (c = 1; c <= nconf; c++) {
		k = conf[c]
		if (kind[k] == "kernel" || !n[cm, k]) continue
		kb = kernel_best(cm, against[k] != "-" ? against[k] : against_of[i], better_of[i])
		if (kb == "") continue
		r = times(cm, k, kb, better_of[i])
		r1 = n[cm, first] ? times(cm, k, first, better_of[i]) : 0
		line = sprintf("  %-*s  %s: %.2f times %s", wide, "", k, r, kb)
		if (kb != first && n[cm, first]) line = line sprintf(", %.2f times %s", r1, first)
		if (kind[k] == "ours" && bar_of[i] != "-")
			line = line "   (" judged(bar_of[i], aim_of[i], r, med[cm, k], med[cm, kb]) ")"
		print line
	}
}

# The demonstration's line: the kernel at its best, ours, how many times better.
function show_brief(i,    cm, kb) {
	cm = case_of[i] SUBSEP metric_of[i]
	kb = kernel_best(cm, against_of[i], better_of[i])
	if (kb == "" || !n[cm, "ours"]) return
	printf "  %-*s  %12s  %12s  %7.1f times\n", wide, title_of[i], human(med[cm, kb]), \
		human(med[cm, "ours"]), times(cm, "ours", kb, better_of[i])
}

BEGIN {
	FS = "\t"
	while ((getline row < cases) > 0) {
		if (row ~ /^#/ || row == "") continue
		nf = split(row, f, "\t")
		if (nf < 9) { print "cases.tsv: " row > "/dev/stderr"; exit 1 }
		all[++nall] = row
	}
}
/^#config/ { conf[++nconf] = $2; kind[$2] = $3; place[$2] = $4; against[$2] = $5
	if (first == "" && $3 == "kernel") first = $2; next }
/^#lifted/ { lifted[++nlifted] = $2 ": " $3 " at the server, " $4 " at the client"; next }
/^#pressure/ { pressure = $2 " before, " $3 " after"; next }
/^#line/ { trip = "; a cache line between the cores and back: " $2 " ns (" $3 " - " $4 ")"; next }
/^#foreign/ { foreign = $2 " % in the middle, " $3 " % at most"; next }
/^#/ { key = substr($1, 2); fact[key] = $2; next }
{ k = $1 SUBSEP $2 SUBSEP $3; val[k, ++n[k]] = raw[k, n[k]] = $6 + 0 }
END {
	for (k in n) { sorted_in(k); med[k] = median(k) }
	for (i = 1; i <= nall; i++) {
		split(all[i], f, "\t")
		if (f[1] != fact["workload"]) continue
		ncase++
		case_of[ncase] = f[2]; metric_of[ncase] = f[3]; better_of[ncase] = f[5]
		against_of[ncase] = f[6]; bar_of[ncase] = f[7]; aim_of[ncase] = f[8]
		title_of[ncase] = f[9] ", " f[4]
		if (length(title_of[ncase]) > wide) wide = length(title_of[ncase])
	}
	if (brief) {
		printf "\n  %-*s  %12s  %12s\n", wide, "median of " fact["pairs"], "kernel", "ztcp"
		for (i = 1; i <= ncase; i++) show_brief(i)
		print "\n  kernel: the better of one core each and both on one core; ztcp: one core each"
		for (i = 1; i <= nlifted; i++) print "  connections lifted to shared memory, " lifted[i]
		print "  CPU pressure (some avg10): " pressure "; CPU used by others meanwhile: " foreign trip
		if (foreign + 0 > 30) print "  The machine was busy with other things: these figures say little. Run it again when it is idle."
		exit
	}
	print fact["workload"] ": " fact["about"]
	line = sprintf("  %-*s", wide, fact["pairs"] " rounds, " fact["seconds"] " s each; median (min - max)")
	for (c = 1; c <= nconf; c++) line = line sprintf("  %26s", conf[c] " cores " place[conf[c]])
	print line
	for (i = 1; i <= ncase; i++) show(i)
	for (i = 1; i <= nlifted; i++) print "  connections lifted: " lifted[i]
	print "  CPU pressure (some avg10): " pressure "; CPU used by others meanwhile: " foreign trip
	print "  " fact["cpu"] ", " fact["memory"] ", " fact["virtual"] ", Linux " fact["kernel"] ", " \
		fact["system"] "; ztcp " fact["version"]
}
