"""The flow's network: any shape of sample, zero at first, one number a sample whatever else is in the batch."""

import pytest
import torch

from dualsweep.trainer.models.log_flow import Flow


@pytest.mark.parametrize("shape", [(1,), (5,), (1, 8, 8), (3, 32, 16), (3, 3, 3), (2, 6)])
def test_one_number_for_each_sample(shape):
    torch.manual_seed(0)
    flow = Flow(shape, 12, 100)
    x, t = torch.randn(4, *shape), torch.tensor([0, 10, 50, 99])
    assert torch.equal(flow(x, t), torch.zeros(4))
    torch.nn.init.normal_(flow.last.weight)
    together = flow(x, t)
    assert together.shape == (4,) and len(set(together.tolist())) == 4
    torch.testing.assert_close(torch.cat([flow(x[i : i + 1], t[i : i + 1]) for i in range(4)]), together)
    assert not torch.allclose(flow(x, t.flip(0)), together)


@pytest.mark.parametrize("width", [4, 8, 64])
def test_a_narrow_flow_tells_timesteps_apart_too(width):
    torch.manual_seed(0)
    flow = Flow((1, 8, 8), width, 100)
    torch.nn.init.normal_(flow.last.weight)
    x = torch.randn(1, 1, 8, 8).expand(4, -1, -1, -1)
    values = flow(x, torch.tensor([0, 30, 60, 99]))
    assert values.std() > 1e-2 * values.abs().mean()
