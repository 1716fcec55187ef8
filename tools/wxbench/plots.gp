# SPDX-License-Identifier: MIT
#
# gnuplot -e "dir='...'; kernel='6.12'" plots.gp: draws what report.awk wrote to
# dir, each plot as SVG and as PNG.

set style data histograms
set style fill solid 0.8 border -1
set grid ytics
set key outside right top vertical
set rmargin 24
set xtics rotate by -35 noenhanced
set bmargin 6
set offsets 0, 0, graph 0.05, 0
note = " (Linux ".kernel.", guest instructions)"

do for [type in "svg png"] {
	if (type eq "svg") {
		set terminal svg size 1000,560 dynamic font "DejaVu Sans,12" background "white"
	} else {
		set terminal pngcairo size 1000,560 font "DejaVu Sans,10"
	}

	set style histogram rowstacked
	set boxwidth 0.7
	set ylabel "instructions"
	do for [name in "publish batch module"] {
		set output dir."/".name.".".type
		set title (name eq "publish" ? "One function of 256 B, one call each" : \
			name eq "batch" ? "One function of 256 B, 64 in a call" : \
			"A module's whole life, 8 + 4 + 4 KiB").note
		if (name eq "module") {
			plot dir."/module.dat" using 2:xtic(1) title "alloc", "" using 3 title "write", \
				"" using 4 title "protect or install", "" using 5 title "run", \
				"" using 6 title "free"
		} else {
			plot dir."/".name.".dat" using 2:xtic(1) title "alloc", "" using 3 title "write", \
				"" using 4 title "protect or install", "" using 5 title "run"
		}
	}

	set style histogram clustered
	set boxwidth 0.9
	set ylabel "per function"
	set output dir."/events.".type
	set title "Events for one function, 3 threads spinning beside (Linux ".kernel.")"
	plot dir."/events.dat" using 2:xtic(1) title "shootdown interrupts", \
		"" using 3 title "system calls", "" using 4 title "page faults"

	set ylabel "mappings"
	set logscale y
	set output dir."/tiny.".type
	set title "Mappings of 10,000 tiny modules (Linux ".kernel.")"
	plot dir."/tiny.dat" using ($2 < 1 ? 1 : $2):xtic(1) title "VMAs"

	set style data linespoints
	set xtics norotate
	set logscale x
	set ylabel "instructions for a function"
	do for [batch in "1 64"] {
		set output dir."/sizes-".batch.".".type
		set title "By size, ".(batch eq "1" ? "one call each" : batch." in a call").note
		set xlabel "bytes of the function"
		set xtics (64, 256, 1024, 4096)
		plot for [i = 2:7] dir."/sizes-".batch.".dat" using 1:i linewidth 2 \
			title word("memcpy mprotect memfd-dual asmjit-dual device-install wxpool-install", i - 1)
	}
	unset logscale y
	set xtics auto
	set format x "%.0s%c"
	set output dir."/scale.".type
	set title "By the number of live functions of 256 B".note
	set xlabel "live functions"
	set yrange [0:*]
	plot for [i = 2:4] dir."/scale.dat" using 1:i linewidth 2 \
		title word("device-install wxpool-install wxpool-huge", i - 1)
	unset logscale x
	unset xlabel
	set yrange [*:*]
	set format x
	set xtics rotate by -35 noenhanced
	set style data histograms
}
