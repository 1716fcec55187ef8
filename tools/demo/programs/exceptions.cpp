// SPDX-License-Identifier: MIT
// Exceptions, static constructors and destructors, RTTI, virtual calls.
#include <cstdio>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

struct Tracer {
	explicit Tracer(const char *name) : name(name)
	{
		std::printf("construct %s\n", name);
	}
	~Tracer() { std::printf("destroy %s\n", name); }
	const char *name;
};

Tracer first("first"), second("second");
std::vector<std::string> words = { "seal", "view", "pool" };

struct Error : std::runtime_error {
	Error(const std::string &what, int code)
		: std::runtime_error(what), code(code) {}
	int code;
};

struct Shape {
	virtual ~Shape() = default;
	virtual double area() const = 0;
};

struct Square : Shape {
	explicit Square(double a) : a(a) {}
	double area() const override { return a * a; }
	double a;
};

struct Disc : Shape {
	explicit Disc(double r) : r(r) {}
	double area() const override { return 3.0 * r * r; }
	double r;
};

__attribute__((noinline)) void dive(int depth)
{
	Tracer here(depth % 2 ? "odd" : "even");

	if (depth == 0)
		throw Error("bottom reached", 17);
	dive(depth - 1);
}

__attribute__((noinline)) int classify(int kind)
{
	try {
		switch (kind) {
		case 0:
			throw 42;
		case 1:
			throw std::string("text");
		case 2:
			dive(3);
			break;
		case 3:
			return static_cast<int>(std::vector<int>(3).at(5));
		default:
			break;
		}
	} catch (int i) {
		return i;
	} catch (const std::string &s) {
		return static_cast<int>(s.size());
	} catch (const Error &e) {
		std::printf("%s, %d\n", e.what(), e.code);
		return e.code;
	} catch (const std::exception &) {
		return -1;
	}
	return 0;
}

int nested()
{
	try {
		try {
			dive(1);
		} catch (...) {
			std::puts("caught, thrown again");
			throw;
		}
	} catch (const std::runtime_error &e) {
		return static_cast<int>(std::string(e.what()).size());
	}
	return 0;
}

const Tracer &lazy()
{
	static Tracer tracer("at first use");

	return tracer;
}

} // namespace

int main()
{
	std::vector<std::unique_ptr<Shape>> shapes;
	double area = 0;

	for (int kind = 0; kind < 5; kind++)
		std::printf("kind %d: %d\n", kind, classify(kind));
	std::printf("nested: %d\n", nested());
	std::printf("%s\n", lazy().name);
	shapes.push_back(std::make_unique<Square>(2));
	shapes.push_back(std::make_unique<Disc>(1));
	for (const auto &shape : shapes) {
		area += shape->area();
		if (dynamic_cast<const Disc *>(shape.get()))
			std::puts("a disc");
	}
	std::printf("area %g of %zu, %s\n", area, shapes.size(),
		    words[1].c_str());
	return 3;
}
