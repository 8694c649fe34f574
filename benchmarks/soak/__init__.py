"""`make soak`: many mixed turns in one process, whose memory, descriptors, threads and tasks must not grow."""
