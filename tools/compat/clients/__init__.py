"""One module per foreign client, all behind the interface of `base`."""
