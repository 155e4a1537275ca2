"""How each record of `node` is read and written: plain code, generated from the shapes (`make records`)."""
