// SPDX-License-Identifier: MIT
/* Floating point: constants and vectors in read-only data, libm. */
#include <math.h>
#include <stdio.h>

#define N 8

static const double weights[N] = { 0.1, 0.25, 0.5, 0.75, 1.25, 2.5, 5.0, 10.0 };

__attribute__((noinline)) static double polynomial(double x)
{
	static const double c[] = { 3.25, -1.125, 0.6875, 2.718281828459045,
				    -0.333333333333 };
	double y = 0;

	for (int i = 4; i >= 0; i--)
		y = y * x + c[i];
	return y;
}

__attribute__((noinline)) static void scale(float *v, int n, float by)
{
	for (int i = 0; i < n; i++)
		v[i] = v[i] * by + 0.625F;
}

static int mandelbrot(double cr, double ci)
{
	double r = 0, i = 0;
	int n = 0;

	while (n < 60 && r * r + i * i < 4) {
		double t = r * r - i * i + cr;

		i = 2 * r * i + ci;
		r = t;
		n++;
	}
	return n;
}

/* The volatile keeps libm's functions from being computed at compile time. */
int main(void)
{
	volatile double half = 0.5, two = 2;
	float v[33];
	double dot = 0;

	for (int i = 0; i < N; i++)
		dot += weights[i] * polynomial(weights[i]);
	printf("dot = %.12g\n", dot);
	for (int i = 0; i < 33; i++)
		v[i] = (float)i;
	scale(v, 33, 1.5F);
	printf("scaled: %g %g %g\n", v[0], v[16], v[32]);
	printf("%.10f %.10f %.10f\n", sin(half), pow(two, half), log(two));
	printf("%.6f %.6Lf %d\n", sqrt(two), (long double)two / 3,
	       isnan(half - half * (double)INFINITY / INFINITY));
	for (int y = -4; y <= 4; y++) {
		for (int x = -24; x <= 8; x++)
			putchar(mandelbrot(x / 12.0, y / 4.0) == 60 ? '#' : '.');
		putchar('\n');
	}
	return (int)(floor(dot)) & 127;
}
