// One sound at a time. Without this script the browser's own controls are shown instead of the button.
document.documentElement.classList.add("script");
for (const button of document.querySelectorAll(".play")) {
  const sound = button.parentElement.querySelector("audio");
  button.addEventListener("click", () => {
    if (!sound.paused) { sound.pause(); return; }
    for (const other of document.querySelectorAll("audio")) other.pause();
    sound.currentTime = 0;
    sound.play();
  });
  sound.addEventListener("play", () => button.classList.add("on"));
  for (const event of ["pause", "ended"]) sound.addEventListener(event, () => button.classList.remove("on"));
}
