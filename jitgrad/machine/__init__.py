"""This machine's side of compiled code: LLVM IR to addresses, and the folder where object code is kept."""
