#define CPU_CASES
