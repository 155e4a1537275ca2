"""How each record of `ledger` is read and written: plain code, generated from the shapes (`make records`)."""
