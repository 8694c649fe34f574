"""Speed of a delegated turn, compared with its lower bound and with other implementations (`make bench`)."""
