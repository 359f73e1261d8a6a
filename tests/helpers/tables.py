"A table of labels beside its pictures."

from trmml_nb.data.formats import read_labels
from trmml_nb.data.reading import Reading


def read(folder, text, name='labels.csv', **said):
    (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_labels(folder / name, folder, add_images=False, reading=Reading(**said))
