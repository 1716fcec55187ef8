# SPDX-License-Identifier: MIT
#
# awk -v dir=DIR -f report.awk RAW: from the lines of wxbench, writes
# DIR/results.json (all of them), DIR/summary.json (the figures that have
# targets), DIR/*.dat (for plots.gp), and prints tables. Fails if a figure of
# the summary was not measured.

function key(work, peer, what)
{
	return work " " peer " " what
}

# The fields that tell measurements of one workload apart, beside the peer.
function what_of(work)
{
	if (work == "publish")
		return f["size"] "x" f["batch"] "+" f["live"] (f["pool"] + 0 ? " one pool" : "") \
			(f["warm"] + 0 ? " warm" : "")
	if (work == "free")
		return f["n"] "/" f["live"]
	if (work == "module")
		return f["live"] "/" f["busy"]
	if (work == "threads")
		return f["threads"] "/" f["busy"] (f["cpus"] + 0 ? " one CPU" : "")
	return ""
}

function is_number(s)
{
	return s ~ /^-?[0-9.]+$/
}

function json_line(    i, line)
{
	line = ""
	for (i = 1; i <= nf; i++)
		line = line (i > 1 ? ", " : "") "\"" name[i] "\": " \
			(is_number(f[name[i]]) ? f[name[i]] : "\"" f[name[i]] "\"")
	return "  { " line " }"
}

/^wxbench: work=/ {
	delete f
	nf = 0
	for (i = 2; i <= NF; i++) {
		at = index($i, "=")
		name[++nf] = substr($i, 1, at - 1)
		f[name[nf]] = substr($i, at + 1)
	}
	json[++lines] = json_line()
	kernel = f["kernel"]
	k = key(f["work"], f["peer"], what_of(f["work"]))
	if (!(k in seen)) {
		seen[k] = 1
		order[++nr] = k
		work[nr] = f["work"]
		peer[nr] = f["peer"]
		what[nr] = what_of(f["work"])
	}
	for (i = 1; i <= nf; i++)
		value[k, name[i]] = f[name[i]]
}

# The figure, or "" where it was not measured.
function get(w, p, wh, field)
{
	return value[key(w, p, wh), field]
}

# ---- tables

function cell(v, digits)
{
	if (v == "")
		return "-"
	return sprintf("%." digits "f", v)
}

# columns: "title:field:digits" separated by blanks
function table(w, wh, title, columns,    c, n, i, j, part, shown)
{
	n = split(columns, c, " ")
	for (i = 1; i <= nr; i++) {
		if (work[i] != w || what[i] != wh)
			continue
		if (!shown++) {
			printf "\n%s\n%-17s", title, "peer"
			for (j = 1; j <= n; j++) {
				split(c[j], part, ":")
				printf " %10s", part[1]
			}
			print ""
		}
		printf "%-17s", peer[i]
		if (value[order[i], "unavailable"] != "") {
			print " not available here: " value[order[i], "unavailable"]
			continue
		}
		for (j = 1; j <= n; j++) {
			split(c[j], part, ":")
			printf " %10s", cell(value[order[i], part[2]], part[3])
		}
		print ""
	}
}

function tables(    cost, phases, i, sizes, events)
{
	cost = "insns:instructions:0 calls:calls:3 faults:faults:3 vmas:vmas:0 kmem-B:kmem:0"
	phases = " alloc:alloc:0 write:write:0 protect:protect:0 run:run:0 free:free:0"
	events = "shootdowns:shootdowns:2 calls:calls:3 faults:faults:3 switches:switches:3"

	print "Kernel " kernel "; per item, but VMAs: all together."
	limits_table()
	table("publish", "256x1+1024", "(a) functions of 256 B, one call each, each in a pool of its own", cost phases)
	table("publish", "256x1+1024 one pool", "(a) the same, all in one pool", cost phases)
	table("publish", "256x1+1024 one pool warm", "(a) the same, where others were before", cost phases)
	table("publish", "256x64+1024", "(a) functions of 256 B, 64 in a call, a pool for each call", cost phases)
	table("publish", "256x64+1024 one pool", "(a) the same, all in one pool", cost phases)
	table("publish", "256x64+1024 one pool warm", "(a) the same, where others were before", cost phases)
	sizes_table(1)
	sizes_table(64)
	scale_table()
	table("module", "1/0", "(b) a module's life: 8 KiB code, 4 KiB read-only, 4 KiB writable; one at a time",
	      cost phases)
	table("module", "64/0", "(b) the same, 64 of them alive", cost phases)
	table("tiny", "", "(c) 10,000 tiny modules alive: 107 B code, 145 B read-only, 132 B writable",
	      cost " mappings:mappings:0 held-B:held:0 lost-%:lost:1 lost64-%:lost_lines:1")
	table("churn", "", "(d) churn among 100,000 functions of 256 B: free one, publish one", cost phases)
	mixed_table()
	free_table()
	table("threads", "1/3", "(e) one thread publishes functions of 256 B, 3 threads spin; 4 CPUs", events)
	table("module", "1/3", "(e) the same with modules: their whole life", events)
	for (i = 1; i <= 4; i *= 2)
		table("threads", i "/0", "(e) " i (i > 1 ? " threads publish" : " thread publishes") "; 4 CPUs",
		      events)
	for (i = 1; i <= 4; i += 3)
		table("threads", i "/0 one CPU", "(e) " i (i > 1 ? " threads publish" : " thread publishes") \
		      " on one CPU", cost " switches:switches:4")
	table("footprint", "", "(f) 4 MiB of code: published by one load, run once in each page",
	      "insns:load_instructions:0 faults:load_faults:0 run-insns:run_instructions:0 run-faults:run_faults:0 calls:calls:0 vmas:vmas:0 huge-B:huge:0")
	device_table()
	library_table()
	llvm_table()
}

# The fields of a measurement that has no peer, one a row.
function rows(k, names,    i, n, part)
{
	n = split(names, part, " ")
	for (i = 1; i <= n; i++)
		if (value[k, part[i]] != "")
			printf "%-17s %10s\n", part[i], cell(value[k, part[i]], 0)
}

function limits_table(    k)
{
	k = key("limits", "", "")
	print "\nlimits: instructions, reading the counter (" cell(value[k, "reading"], 0) ") included"
	rows(k, "reading getppid page_fault memcpy_64 memcpy_256 memcpy_4096 memcpy_16384 " \
		"loop_of_2000 rep_movsb_4096 rep_stosq_512")
}

function device_table()
{
	print "\n(g) /dev/wxpool by its bare calls: instructions of a call; bytes and instructions of a pool"
	rows(key("device", "", ""), "ioctl install_256 install64_64 install_free_256 " \
	     "install_free_12k install_16m install_pool pool_bytes pool_charged free_all")
}

function library_table()
{
	print "\n(h) libwxpool: instructions of opening a context and its first function, without and with WXP_HUGE"
	rows(key("first", "", ""), "first_load first_load_open first_load_ioctls " \
	     "first_load_huge first_load_huge_open first_load_huge_ioctls")
	print "\n(h) pools of one line: instructions to load and to close, bytes of the library, each"
	rows(key("pools", "", ""), "load_pool library_bytes close_pool")
}

function llvm_table(    v, i, linkers)
{
	split("rtdyld jitlink", linkers, " ")
	for (v = 19; v <= 22; v += 3)
		for (i = 1; i <= 2; i++)
			table("llvm" v "-" linkers[i], "", "(i) LLVM " v ", " linkers[i] \
			      ": an object, 1,000 of them alive; all of LLVM counts",
			      "load:load:0 unload:unload:0 calls:load_calls:3 +calls:unload_calls:3 vmas:vmas:0")
	for (v = 19; v <= 22; v += 3)
		table("llvm" v "-remote", "", "(j) LLVM " v ", jitlink, for code that another process runs: " \
		      "what both do; all of LLVM counts", "load:load:0 unload:unload:0 " \
		      "messages:load_messages:3 +messages:unload_messages:3 calls:load_calls:1 " \
		      "+calls:unload_calls:1 vmas:vmas:0")
}

# Ours as part of the best of LLVM's own
function of_llvm(w, field,    best, i, n, p, v)
{
	n = split("section in-process simple mapper", p, " ")
	for (i = 1; i <= n; i++) {
		v = get(w, p[i], "", field)
		if (v != "" && (best == "" || v < best))
			best = v
	}
	return ratio(get(w, "wxpool-huge", "", field), best)
}

function llvm_summary(    v, w, i, linkers, calls)
{
	split("rtdyld jitlink", linkers, " ")
	for (v = 19; v <= 22; v += 3) {
		for (i = 1; i <= 2; i++) {
			w = "llvm" v "-" linkers[i]
			figure("llvm" v "_" linkers[i] "_load", of_llvm(w, "load"), "<= 0.8")
			figure("llvm" v "_" linkers[i] "_unload", of_llvm(w, "unload"), "<= 0.4")
		}
		calls = get(w, "wxpool-huge", "", "load_calls")
		calls += get(w, "wxpool-huge", "", "unload_calls")
		figure("llvm" v "_syscalls", calls, "<= 2")
		figure("llvm" v "_vmas", get(w, "wxpool-huge", "", "vmas"), "<= 0")
		w = "llvm" v "-remote"
		figure("llvm" v "_remote_load", of_llvm(w, "load"), "")
		figure("llvm" v "_remote_unload", of_llvm(w, "unload"), "")
		figure("llvm" v "_remote_load_messages",
		       get(w, "wxpool-huge", "", "load_messages"), "<= 1")
		figure("llvm" v "_remote_unload_messages",
		       get(w, "wxpool-huge", "", "unload_messages"), "<= 1")
		figure("llvm" v "_remote_vmas", get(w, "wxpool-huge", "", "vmas"), "<= 8")
	}
}

function mixed_table(    k)
{
	k = key("mixed", "", "")
	print "\n(d) functions of 64 B to 8 KiB with random lives in a window that is 90 % full: instructions"
	rows(k, "live publish worst worst_ioctl")
	printf "%-17s %10s\n", "refused-%", cell(value[k, "refused_percent"], 3)
}

# Instructions by size; also for the plot.
function sizes_table(batch,    sizes, n, i, j, p, list, m, file, v)
{
	n = split("64 256 1024 4096", sizes, " ")
	m = split("memcpy mprotect memfd-dual asmjit-dual device-install wxpool-install", list, " ")
	file = dir "/sizes-" batch ".dat"
	printf "\n(a) instructions for a function by its size, %s\n%-17s", \
		batch == 1 ? "one call each" : batch " in a call", "peer"
	for (i = 1; i <= n; i++)
		printf " %10s", sizes[i] " B"
	print ""
	printf "# size %s\n", join(list, m) > file
	for (j = 1; j <= m; j++) {
		printf "%-17s", list[j]
		for (i = 1; i <= n; i++)
			printf " %10s", cell(by_size(list[j], sizes[i], batch), 0)
		print ""
	}
	for (i = 1; i <= n; i++) {
		printf "%d", sizes[i] > file
		for (j = 1; j <= m; j++) {
			v = by_size(list[j], sizes[i], batch)
			printf " %s", v == "" ? "NaN" : v > file
		}
		print "" > file
	}
	close(file)
}

function free_table(    peers, n, i)
{
	n = split("wxpool-install wxpool-huge", peers, " ")
	printf "\n(d) freeing a pool: instructions for each of its functions of 256 B\n%-17s", \
		"functions/others"
	printf " %10s %10s %10s %10s\n", "64/16k", "1k/16k", "16k/16k", "1k/100k"
	for (i = 1; i <= n; i++)
		printf "%-17s %10s %10s %10s %10s\n", peers[i], freed(peers[i], "64/16384"),
		       freed(peers[i], "1024/16384"), freed(peers[i], "16384/16384"),
		       freed(peers[i], "1024/100000")
}

function freed(p, what)
{
	return cell(get("free", p, what, "instructions"), 0)
}

function by_size(p, size, batch)
{
	return get("publish", p, size "x" batch "+" (size == 256 ? 1024 : 512), "instructions")
}

function join(list, n,    i, s)
{
	for (i = 1; i <= n; i++)
		s = s (i > 1 ? " " : "") list[i]
	return s
}

function scale_table(    lives, n, i, p, list, m, j, file, v)
{
	n = split("1000 10000 100000 1000000", lives, " ")
	m = split("device-install wxpool-install wxpool-huge", list, " ")
	file = dir "/scale.dat"
	printf "\n(a) instructions for a function of 256 B, by the number of live ones\n%-17s", "peer"
	for (i = 1; i <= n; i++)
		printf " %10s", lives[i]
	print ""
	for (j = 1; j <= m; j++) {
		printf "%-17s", list[j]
		for (i = 1; i <= n; i++)
			printf " %10s", cell(get("publish", list[j], "256x1+" lives[i], "instructions"), 0)
		print ""
	}
	printf "# live %s\n", join(list, m) > file
	for (i = 1; i <= n; i++) {
		printf "%d", lives[i] > file
		for (j = 1; j <= m; j++) {
			v = get("publish", list[j], "256x1+" lives[i], "instructions")
			printf " %s", v == "" ? "NaN" : v > file
		}
		print "" > file
	}
	close(file)
}

# ---- plots: bars of one workload

function bars(file, w, wh, fields,    i, j, n, c)
{
	n = split(fields, c, " ")
	file = dir "/" file
	printf "# peer %s\n", fields > file
	for (i = 1; i <= nr; i++) {
		if (work[i] != w || what[i] != wh || value[order[i], "unavailable"] != "")
			continue
		# What MCJIT does beside would hide all others.
		if (w == "module" && peer[i] == "llvm-mcjit")
			continue
		printf "%s", peer[i] > file
		for (j = 1; j <= n; j++)
			printf " %s", value[order[i], c[j]] > file
		print "" > file
	}
	close(file)
}

# ---- the summary

function figure(name, v, target)
{
	figures[++nr_figures] = name
	figure_of[name] = v
	target_of[name] = target
	if (v == "") {
		print "report: not measured: " name > "/dev/stderr"
		incomplete = 1
	}
}

function ratio(a, b)
{
	return a == "" || b == "" || b == 0 ? "" : a / b
}

# Instructions for a function of 256 B.
function publish(peer, batch, what)
{
	return get("publish", peer, "256x" batch "+1024" what, "instructions")
}

# A module's life as part of LLVM's calls.
function module(peer)
{
	return ratio(get("module", peer, "1/0", "instructions"),
		     get("module", "llvm-replay", "1/0", "instructions"))
}

function device(field)
{
	return get("device", "", "", field)
}

function library(work, field)
{
	return get(work, "", "", field)
}

# Functions published by threads in one context, on one CPU.
function threads(nr, field)
{
	return get("threads", "wxpool-load-huge", nr "/0 one CPU", field)
}

function library_summary()
{
	figure("close_per_pool", library("pools", "close_pool"), "<= 250")
	figure("library_bytes_per_function", library("pools", "library_bytes"), "<= 40")
	figure("first_load", library("first", "first_load"), "<= 150000")
	figure("first_load_huge", library("first", "first_load_huge"), "<= 3000000")
	figure("churn_refused_percent", library("mixed", "refused_percent"), "<= 0.1")
	figure("churn_worst", library("mixed", "worst"), "<= 100000")
	figure("churn_worst_ioctl", library("mixed", "worst_ioctl"), "")
	figure("threads_4_vs_1", ratio(threads(4, "instructions"), threads(1, "instructions")), "")
	figure("threads_4_switches", threads(4, "switches"), "")
}

function summary(    mprotect, big, small, load, many)
{
	mprotect = publish("mprotect", 1, "")
	big = "wxpool-huge"
	small = "wxpool-install"
	load = "wxpool-load-huge"
	many = "wxpool-many-huge"
	figure("load_vs_mprotect", ratio(publish(load, 1, " one pool warm"), mprotect), "<= 0.0667")
	figure("load_fresh_vs_mprotect", ratio(publish(load, 1, " one pool"), mprotect), "")
	figure("load_own_pool_vs_mprotect", ratio(publish(load, 1, ""), mprotect), "")
	figure("load_small_pages_vs_mprotect",
	       ratio(publish("wxpool-load", 1, " one pool"), mprotect), "")
	figure("install_vs_mprotect", ratio(publish(big, 1, " one pool warm"), mprotect), "<= 0.077")
	figure("install_fresh_vs_mprotect", ratio(publish(big, 1, " one pool"), mprotect), "")
	figure("install_own_pool_vs_mprotect", ratio(publish(big, 1, ""), mprotect), "")
	figure("install_small_pages_vs_mprotect", ratio(publish(small, 1, " one pool"), mprotect), "")
	figure("batch64_vs_mprotect", ratio(publish(many, 64, " one pool warm"), mprotect), "<= 0.025")
	figure("batch64_fresh_vs_mprotect", ratio(publish(many, 64, " one pool"), mprotect), "")
	figure("batch64_small_pages_vs_mprotect",
	       ratio(publish("wxpool-many", 64, " one pool"), mprotect), "")
	figure("install_shootdowns", get("threads", big, "1/3", "shootdowns"), "0")
	figure("module_inplace_vs_llvm", module("wxpool-inplace"), "<= 0.45")
	figure("module_install_vs_llvm", module(big), "<= 0.12")
	figure("module_install_small_pages_vs_llvm", module(small), "<= 0.28")
	figure("module_syscalls", get("module", "wxpool-inplace", "1/0", "calls"), "<= 3")
	figure("module_install_syscalls", get("module", big, "1/0", "calls"), "<= 2")
	figure("vmas_10000_modules", get("tiny", small, "", "mappings"), "<= 6")
	figure("lost_percent_tiny", get("tiny", small, "", "lost_lines"), "<= 10")
	figure("cost_1m_vs_1k",
	       ratio(get("publish", big, "256x1+1000000", "instructions"),
		     get("publish", big, "256x1+1000", "instructions")), "<= 1.2")
	library_summary()
	figure("faults_4mib", get("footprint", big, "", "run_faults"), "<= 2")
	figure("device_install_256", device("install_256"), "<= 1250")
	figure("device_install64_64", device("install64_64"), "<= 150")
	figure("device_install_free_256", device("install_free_256"), "<= 3200")
	figure("device_install_free_12k", device("install_free_12k"), "<= 9000")
	figure("device_inplace_vs_llvm", module("device-inplace"), "<= 0.55")
	figure("device_huge_vs_llvm", module("device-huge"), "<= 0.10")
	figure("device_install_vs_llvm", module("device-install"), "<= 0.27")
	figure("device_bytes_per_function", device("pool_bytes"), "<= 60")
	figure("device_charged_per_function", device("pool_charged"), "")
	figure("device_free_all_per_pool", device("free_all"), "<= 200")
	figure("device_inplace_shootdowns",
	       get("module", "device-inplace", "1/3", "shootdowns"), "<= 6")
	figure("device_install_shootdowns",
	       get("module", "device-install", "1/3", "shootdowns"), "<= 3")
	figure("device_install_16m", device("install_16m"), "<= 25000000")
	llvm_summary()
	figure("llvm_vmas_10000", get("tiny", "llvm-mcjit", "", "vmas"), "")
	figure("llvm_lost_percent_tiny", get("tiny", "llvm-mcjit", "", "lost"), "")
}

function number(v)
{
	return v == "" ? "null" : sprintf(v + 0 < 1e6 ? "%.6g" : "%.0f", v)
}

function write_json(    i, file)
{
	file = dir "/results.json"
	print "[" > file
	for (i = 1; i <= lines; i++)
		print json[i] (i < lines ? "," : "") > file
	print "]" > file
	close(file)
	file = dir "/summary.json"
	print "{" > file
	for (i = 1; i <= nr_figures; i++)
		printf "  \"%s\": %s%s\n", figures[i], number(figure_of[figures[i]]), \
			i < nr_figures ? "," : "" > file
	print "}" > file
	close(file)
}

function print_summary(    i, n)
{
	printf "\n%-34s %12s   %s\n", "summary", "measured", "target"
	for (i = 1; i <= nr_figures; i++) {
		n = figures[i]
		printf "%-34s %12s   %s\n", n, number(figure_of[n]), target_of[n]
	}
}

END {
	tables()
	summary()
	write_json()
	print_summary()
	bars("publish.dat", "publish", "256x1+1024", "alloc write protect run")
	bars("batch.dat", "publish", "256x64+1024", "alloc write protect run")
	bars("module.dat", "module", "1/0", "alloc write protect run free")
	bars("tiny.dat", "tiny", "", "vmas lost")
	bars("events.dat", "threads", "1/3", "shootdowns calls faults")
	exit incomplete
}
