"""A PyTorch module is trained on an OpenCL device: out through ONNX, back as a state dict. The parts between the lines
`# %%` are cells for editors that know them. Needs PyTorch and NumPy."""
# %% A module of PyTorch's, and data
import numpy as np
import torch

import blanch

torch.manual_seed(0)
module = torch.nn.Sequential(
    torch.nn.Conv2d(1, 16, 3, padding=1), torch.nn.BatchNorm2d(16), torch.nn.ReLU(), torch.nn.MaxPool2d(2),
    torch.nn.Conv2d(16, 32, 3, padding=1), torch.nn.BatchNorm2d(32), torch.nn.ReLU(), torch.nn.MaxPool2d(2),
    torch.nn.Flatten(), torch.nn.Linear(32 * 7 * 7, 10))
labels = torch.arange(256) % 10
images = torch.randn(256, 1, 28, 28)
images[torch.arange(256), :, 2 * labels + 4] += 2       # a bright bar whose place is the class
loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(images, labels), 32, shuffle=True)

# %% Out: in train(), so that the batch norms stay (docs/onnx.md)
options = {'dynamo': False} if 'dynamo' in torch.onnx.export.__code__.co_varnames else {}
torch.onnx.export(module.train(), images[:2], 'module.onnx', training=torch.onnx.TrainingMode.TRAINING,
                  do_constant_folding=False, opset_version=17, **options)

# %% Training: the file has the module's weights
network = blanch.Network('module.onnx', batch=32, lr=0.05)
before = network.evaluate(images, labels)
history = network.fit(loader, epochs=4)
after = network.evaluate(images, labels)
print('loss %.3f, then %.3f; %d of %d right' % (before.loss, after.loss, after.top1, after.count))

# %% Back, and the same logits
module.load_state_dict({name: torch.from_numpy(array) for name, array in network.state_dict().items()})
with torch.no_grad():
    logits = module.eval()(images).numpy()
difference = np.abs(network.predict(images) - logits).max() / np.abs(logits).max()
print('logits differ by %.1e of the largest' % difference)
assert after.loss < before.loss and difference < 1e-4
