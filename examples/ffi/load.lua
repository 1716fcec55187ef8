-- SPDX-License-Identifier: MIT
-- load.c by LuaJIT's FFI: bytes in, function out. Calls that fail raise an error.

local ffi = require("ffi")

-- From <wxpool.h>, what is used here. Enumerations are ints.
ffi.cdef[[
struct wxp;
struct wxp_options;
int wxp_open(struct wxp **wxp, const struct wxp_options *opts);
int wxp_load(struct wxp *wxp, uint32_t pool, const void *bytes, size_t size, int prot,
	     void **addr);
int wxp_free(struct wxp *wxp, uint32_t pool);
void wxp_close(struct wxp *wxp);
const char *wxp_strerror(int err);
]]

local WXP_RX = 0x15

local lib = ffi.load("libwxpool.so.0")

local function check(ret, name)
	if ret < 0 then
		error(name .. ": " .. ffi.string(lib.wxp_strerror(ret)), 2)
	end
end

-- int function(void) { return 42; }
local code = ({
	x64 = "\xb8\x2a\x00\x00\x00\xc3",			-- mov $42, %eax; ret
	arm64 = "\x40\x05\x80\x52\xc0\x03\x5f\xd6",		-- mov w0, #42; ret
})[jit.arch]

local handle = ffi.new("struct wxp *[1]")
check(lib.wxp_open(handle, nil), "wxp_open")
local wxp = ffi.gc(handle[0], lib.wxp_close)

local addr = ffi.new("void *[1]")
check(lib.wxp_load(wxp, 1, code, #code, WXP_RX, addr), "wxp_load")	-- into pool 1
local answer = ffi.cast("int (*)(void)", addr[0])
print("The function at " .. tostring(addr[0]):match("0x%x+") .. " returns " .. answer() .. ".")

check(lib.wxp_free(wxp, 1), "wxp_free")		-- answer must not be called any more
local ok, message = pcall(function() check(lib.wxp_free(wxp, 1), "wxp_free") end)
assert(not ok)
print("Freed twice: " .. message:match("wxp_free: .*"))
