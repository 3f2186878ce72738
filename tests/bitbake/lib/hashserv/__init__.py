"""In the place of BitBake's own module, which PyPI's package lacks: builds in tests share no hashes."""


def is_valid_unihash(unihash):
    return len(unihash) <= 64 and all(letter in "0123456789abcdef" for letter in unihash)


def create_client(*_, **__):
    raise NotImplementedError("no hash equivalence here: BB_SIGNATURE_HANDLER is to be basichash")


create_server = create_client
