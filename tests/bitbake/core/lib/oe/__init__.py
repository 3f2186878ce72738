BBIMPORTS = ["go"]
