// SPDX-License-Identifier: MIT
#include <coroutine>
#include <mutex>
#include <numeric>
#include <thread>

#include "cxx.hpp"

struct Generator {
	struct promise_type {
		int value = 0;

		Generator get_return_object()
		{
			return { std::coroutine_handle<promise_type>::from_promise(*this) };
		}
		std::suspend_always initial_suspend() { return {}; }
		std::suspend_always final_suspend() noexcept { return {}; }
		std::suspend_always yield_value(int v)
		{
			value = v;
			return {};
		}
		void return_void() {}
		void unhandled_exception() { throw; }
	};

	std::coroutine_handle<promise_type> handle;
};

static Generator generate(int n)
{
	for (int i = 0; i < n; i++)
		co_yield i * i;
}

std::vector<int> squares(int n)
{
	Generator g = generate(n);
	std::vector<int> list;

	for (g.handle.resume(); !g.handle.done(); g.handle.resume())
		list.push_back(g.handle.promise().value);
	g.handle.destroy();
	return list;
}

static thread_local long own;

long sumByThreads(int threads, int n)
{
	std::vector<std::thread> list;
	std::mutex lock;
	long sum = 0;

	for (int t = 0; t < threads; t++)
		list.emplace_back([&, t] {
			for (int i = 0; i < n; i++)
				own += i % (t + 2);
			std::lock_guard<std::mutex> guard(lock);
			sum += own;
		});
	for (auto &t : list)
		t.join();
	return sum + own;
}

int limited(int n, int most)
{
	if (n > most)
		throw TooMany(n);
	return n;
}
