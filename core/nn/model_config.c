/* model_config.c - rotary frequencies of every kind of scaling. */
#include <math.h>

#include "model_config.h"

static double llama3(const sail__rope *r, double frequency)
{
    static const double two_pi = 6.283185307179586476925286766559;
    double wavelength = two_pi / frequency, length = (double)r->original_length;
    if (wavelength < length / r->high_freq)
        return frequency;
    if (wavelength > length / r->low_freq)
        return frequency / r->factor;
    double smooth = (length / wavelength - r->low_freq) / (r->high_freq - r->low_freq);
    return (1 - smooth) * frequency / r->factor + smooth * frequency;
}

void sail__rope_frequencies(const sail__rope *r, bool long_form, double *out)
{
    for (int32_t i = 0; i < r->rotary / 2; i++) {
        double frequency = 1.0 / pow(r->theta, 2.0 * i / r->rotary);
        switch (r->kind) {
        case SAIL__ROPE_DEFAULT:
            break;
        case SAIL__ROPE_LINEAR:
            frequency /= r->factor;
            break;
        case SAIL__ROPE_LLAMA3:
            frequency = llama3(r, frequency);
            break;
        case SAIL__ROPE_LONGROPE:
            frequency /= long_form ? r->long_factor[i] : r->short_factor[i];
            break;
        }
        out[i] = r->divisors ? frequency / r->divisors[i] : frequency;
    }
}
