#!/bin/bash
# lint_compliance.sh - every test that docs/compliance.md names is there: unit tests, packet scripts, cases, fuzzers.
. "$(dirname "$(readlink -f "$0")")/lint_lib.sh"
page=docs/compliance.md
[ -e $page ] || skip "no $page"
need perl
perl - $page tests <<'EOF'
use strict;
use warnings;
my ($page, $tests) = @ARGV;
my $wrong = 0;
my %unit; # program -> names of its tests and of their suites

sub slurp {
	my $path = shift;
	open(my $in, '<', $path) or die "$path: $!\n";
	local $/;
	return <$in>;
}

sub missing { print "$page:$_[0]: no such $_[1]: $_[2]\n"; $wrong = 1 }

for my $path (map { glob "$tests/unit/" . '*/' x $_ . '*_test.c' } 0 .. 3) {
	my ($program) = $path =~ m{(\w+)\.c$};
	my $text = slurp($path);
	push @{$unit{$program}}, $1, $2 while $text =~ /\bTest\((\w+),\s*(\w+)/g;
}
my $cases = -e "$tests/interop/interop.sh" ? slurp("$tests/interop/interop.sh") : '';

# A name, or its beginning and an asterisk.
sub unit_check {
	my ($line, $program, $list) = @_;
	return missing($line, 'program', $program) unless $unit{$program};
	for my $name (split /,\s*/, $list // '') {
		$name =~ s/^\s+|\s+$//g;
		(my $like = quotemeta $name) =~ s/\\\*/\\w*/g;
		missing($line, "test in $program", $name) unless grep { /^$like$/ } @{$unit{$program}};
	}
}

sub case_check {
	my ($line, $list) = @_;
	$list =~ s/\([^)]*\)//g;
	for (split /[,;]\s*/, $list) {
		next unless /^\s*([a-z]\w*)/;
		missing($line, 'case of interop.sh', $1) unless $cases =~ /^case_$1\(\)/m;
	}
}

sub line_check {
	my ($line, $text) = @_;
	unit_check($line, $1, $2) while $text =~ /\b(\w+_test)\b(?:: ([\w*, ]+))?/g;
	while ($text =~ m{\b([a-z]\w*/[\w*]+)(\.pkt)?(?![\w/.])}g) {
		my ($script, $sure) = ($1, $2);
		my ($topic) = split m{/}, $script;
		next unless $sure || -d "$tests/packetdrill/scripts/$topic";
		my @found = glob "$tests/packetdrill/scripts/$script.pkt";
		missing($line, 'script', $script) unless grep { -e } @found;
	}
	case_check($line, $1) if $text =~ /\binterop: ([\w, ]+)/;
	while ($text =~ /\b(\w+)_fuzz\b/g) {
		missing($line, 'fuzzer', $1) unless -d "$tests/fuzz/corpus/$1";
	}
}

my $n = 0;
my $kernel = 0; # within the table of cases
for (split /\n/, slurp($page)) {
	$n++;
	$kernel = /kernel's TCP/ if /^## /;
	line_check($n, $_);
	case_check($n, $1) if $kernel && /^\|[^|]*\|(?! *(?:cases|---))([^|]*)\|$/;
	if (/The other (\d+), with the reason/) {
		my $known = grep { /^[^#\s]/ } split /\n/, slurp("$tests/packetdrill/known_gtests.txt");
		missing($n, 'count of known_gtests.txt', "$1 ($known)") unless $1 == $known;
	}
}
exit $wrong;
EOF
