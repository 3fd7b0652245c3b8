// The next port after the one that was given last, as portpls does it: neighbours in time become
// neighbours in number, and a port that was released comes back as late as can be.

#include "hythe.h"

#define STEP HYTHE_TEXT("step")

HYTHE_DESCRIBE hythe_description *describe(void) {
    static hythe_description description = {
        .name = HYTHE_TEXT("round-robin"),
        .version = HYTHE_TEXT("1.0.0"),
        .summary = HYTHE_TEXT("the next port after the one that was given last"),
        .options_schema = HYTHE_TEXT("{\"properties\": {\"step\": {"
            "\"description\": \"how far above the last port the next one is looked for\", "
            "\"type\": \"integer\", \"minimum\": 1, \"maximum\": 65535, \"default\": 1}}}"),
    };
    return &description;
}

HYTHE_SELECT hythe_answer *select(const hythe_selection *asked) {
    uint32_t first = asked->allowed.first, last = asked->allowed.last, size = last - first + 1;
    uint32_t step = (uint32_t)hythe_integer(asked->options, STEP, 1);

    uint32_t start = first;
    if (asked->latest.is_some && first <= asked->latest.value && asked->latest.value <= last)
        start = first + (asked->latest.value - first + step) % size;

    hythe_range *ranges = HYTHE_NEW(hythe_range, 2);
    ranges[0] = (hythe_range){ (uint16_t)start, (uint16_t)last };
    if (start == first) return hythe_propose(ranges, 1);
    ranges[1] = (hythe_range){ (uint16_t)first, (uint16_t)(start - 1) };
    return hythe_propose(ranges, 2);
}
