"""What a training can be told."""

import pytest

from trmml_nb.runs.options import JobError, TrainJob


@pytest.mark.parametrize(
    'options, message',
    [
        (dict(known=0.1, mask='m'), '--known and --mask'),
        (dict(known=1.5), '--known is 1.5'),
        (dict(data='voc2007'), 'needs --root'),
        (dict(data='csv'), 'needs --labels'),
        (dict(labels='x.csv'), 'belongs to --data csv'),
        (dict(limit=0), '--limit is 0'),
    ],
)
def test_options_that_contradict(options, message):
    with pytest.raises(JobError, match=message):
        TrainJob(**options)
