addtask deploy after do_compile before do_build
