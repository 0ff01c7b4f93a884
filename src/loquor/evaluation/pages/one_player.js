document.addEventListener("play", (event) => { // only one player plays
  for (const player of document.querySelectorAll("audio")) if (player !== event.target) player.pause();
}, true);
