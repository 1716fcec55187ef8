#!/usr/bin/perl
# SPDX-License-Identifier: MIT
#
# Turns pages as kernel-doc makes them, of section 9 of the kernel's manual, into pages of
# section 3: page.pl HEADER VERSION FOLDER < PAGES
use strict;
use warnings;

my ($header, $version, $folder) = @ARGV;

# Declarations as C has them, in lines of 78 columns: names slanted, all else bold
sub synopsis {
	my ($type, $name, @args) = @_;
	my $start = $type . ($type =~ /\*$/ ? "" : " ") . "$name(";
	my $line = "\\fB$start";
	my $width = length($start);
	my $text = ".nf\n.B #include <$header>\n.PP\n";

	for my $i (0 .. $#args) {
		my ($before, $arg) = $args[$i] =~ /^(.*?)(\w+)$/;
		my $end = $i < $#args ? "," : ");";

		if ($i && $width + length("$before$arg$end") + 1 > 78) {
			$text .= "$line\\fP\n";
			$line = (" " x length($start)) . "\\fB";
			$width = length($start);
		} elsif ($i) {
			$line .= " ";
			$width++;
		}
		$line .= "$before\\fI$arg\\fB$end";
		$width += length("$before$arg$end");
	}
	return "$text$line\\fP\n.fi\n.PP\nLink with\n.IR \\-lwxpool ;\n" .
		".B pkg\\-config \\-\\-libs libwxpool\nprints that.\n";
}

# A list in words
sub list {
	my $last = pop;

	return @_ ? join(", ", @_) . " and $last" : $last;
}

# Text of a section: lists, minus signs, and what must not begin a line
sub text {
	my $text = shift;

	$text =~ s/\\fB(wxp_\w+)\\fP(\(\))?/\\fB$1\\fP(3)/g;
	$text =~ s/(?<![\w\\])-(?=E[A-Z])/\\-/g;
	$text =~ s/^- /.IP \\(bu 3\n/mg;
	$text =~ s/\n{2,}/\n.PP\n/g;
	$text =~ s/^(['.](?!(PP|IP)\b))/\\&$1/mg;
	return $text;
}

sub arguments {
	my $text = shift;
	my $out = "";

	while ($text =~ /\.IP "(\w+)" 12\n(.*?)(?=\n\.IP|\n*\z)/sg) {
		my ($name, $what) = ($1, $2);

		$out .= ".TP\n.I $name\n" . text($what) . "\n" if $what !~ /undescribed/;
	}
	return $out;
}

sub page {
	my ($name, $page) = @_;
	my (%sections, %seen);
	my $out = ".\\\" SPDX-License-Identifier: MIT\n.\\\" Made of $header by lib/man.sh\n" .
		".TH $name 3 \"\" \"libwxpool $version\" libwxpool\n";

	$sections{$1} = $2 while $page =~ /^\.SH "?(\w+)"?\n(.*?)(?=^\.SH|\z)/smg;
	my ($type) = $sections{SYNOPSIS} =~ /^\.B "(.*?)"/;
	my @args = $sections{SYNOPSIS} =~ /^\.BI "\(?(.*?) ?"/mg;
	s/\s+$// for @args;

	$out .= ".SH NAME\n$sections{NAME}.SH SYNOPSIS\n" . synopsis($type, $name, @args);
	my $arguments = arguments($sections{ARGUMENTS} // "");
	$out .= ".SH ARGUMENTS\n$arguments" if $arguments;
	$out .= ".SH DESCRIPTION\n" . text($sections{DESCRIPTION}) if $sections{DESCRIPTION};
	my $returns = $sections{RETURN};
	$returns //= "0, or a negative errno.\n" if $type eq "int";
	$out .= ".SH RETURN VALUE\n" . text(ucfirst($returns)) if $returns;
	if ($returns && $returns =~ /^0, or (-E|a neg|an error)/) {
		$out .= ".SH ERRORS\nThose that any function can return are described in\n" .
			".BR libwxpool (7);\n.BR wxp_strerror (3)\nputs errors in words.\n";
	}
	my @types = grep { !$seen{$_}++ && $_ ne "struct wxp_op" }
		"@args $page" =~ /\b((?:struct|enum) wxp_\w+)/g;
	if (@types) {
		$out .= ".SH NOTES\n" . list(map { "\\fI$_\\fP" } @types) .
			(@types > 1 ? " are" : " is") . " described in\n.BR libwxpool (7).\n";
	}
	my @others = sort grep { !$seen{$_}++ && $_ ne $name } $page =~ /\\fB(wxp_\w+)\\fP/g;
	$out .= ".SH SEE ALSO\n" . join("", map { ".BR $_ (3),\n" } @others) .
		".BR libwxpool (7)\n";
	$out =~ s/[ \t]+$//mg;
	$out =~ s/\n{2,}/\n/g;
	open(my $file, ">", "$folder/$name.3") or die "$folder/$name.3: $!\n";
	print $file $out;
	close($file) or die "$folder/$name.3: $!\n";
}

local $/;
my $pages = <STDIN>;
page($1, $2) while $pages =~ /^\.TH "(\w+)".*?\n(.*?)(?=^\.TH|\z)/smg;
