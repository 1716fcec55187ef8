-- SPDX-License-Identifier: MIT
-- What a script does: closures, tables, strings, coroutines, errors, garbage.
local function sieve(n)
	local composite, primes = {}, {}
	for i = 2, n do
		if not composite[i] then
			primes[#primes + 1] = i
			for k = i * i, n, i do composite[k] = true end
		end
	end
	return primes
end
local primes = sieve(20000)
print(#primes, primes[#primes])

local words = {}
for w in ("the code is sealed and the code runs"):gmatch("%a+") do
	words[w] = (words[w] or 0) + 1
end
local keys = {}
for k in pairs(words) do keys[#keys + 1] = k end
table.sort(keys)
for _, k in ipairs(keys) do io.write(k, "=", words[k], " ") end
print()

local function walk(t)
	return coroutine.wrap(function()
		for i = 1, #t do coroutine.yield(t[i], t[i] * t[i]) end
	end)
end
local sum = 0
for a, b in walk({ 1, 2, 3, 5, 8 }) do sum = sum + a * b end
print(sum, string.format("%.10f %5d %s", math.sin(1), 42, ("x"):rep(5)))

print(select("#", pcall(function() error({ code = 7 }) end)))
print(select(2, pcall(function() return nil + 1 end)))
local mt = { __index = function(_, k) return k .. "!" end, __add = function(a, b) return 99 end }
local o = setmetatable({}, mt)
print(o.hello, o + o)
for _ = 1, 200 do
	local t = {}
	for i = 1, 200 do t[i] = { i, tostring(i) } end
end
collectgarbage()
print(load("return 2^53 == 2^53 + 1, 7 // 2, -7 % 3, 0xff | 0x100")())
