// The program `kvasir`.

#include "kvasir/cli/command_line.h"

int main(int argc, char** argv) { return kvasir::RunCommandLine(argc, argv); }
