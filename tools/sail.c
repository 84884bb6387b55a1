/* sail.c - the program. */
#include "cli.h"

int main(int argc, char **argv)
{
    return sail__cli_main(argc, argv);
}
